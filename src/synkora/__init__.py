"""The WebSocket server of Synkora: an Engine.IO and Socket.IO server, and the collaboration that runs on it.
Each public name is imported when it is first used, so that a program loads no more than it needs.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from synkora.extras import advice

if TYPE_CHECKING:
    from synkora.emitter.emitter import Emitter, SyncEmitter
    from synkora.emitter.ports import EmitFailed
    from synkora.engine.settings import Cors
    from synkora.recovery.settings import RecoverySettings
    from synkora.redis_adapter.adapter import RedisAdapter
    from synkora.serving.server import serve, serve_async, serve_in_thread
    from synkora.sockets.broadcast import Broadcast
    from synkora.sockets.errors import AckTimeout, ConnectRefused, EventRefused, TooManyCalls
    from synkora.sockets.namespace import Namespace
    from synkora.sockets.namespace_core import NO_ACK
    from synkora.sockets.namespace_handlers import NamespaceHandlers, event
    from synkora.sockets.remote import RemoteSocket
    from synkora.sockets.server import SocketServer
    from synkora.sockets.snapshot import Handshake
    from synkora.sockets.socket import Socket

    __version__: str

__all__ = [
    "NO_ACK",
    "AckTimeout",
    "Broadcast",
    "ConnectRefused",
    "Cors",
    "EmitFailed",
    "Emitter",
    "EventRefused",
    "Handshake",
    "Namespace",
    "NamespaceHandlers",
    "RecoverySettings",
    "RedisAdapter",
    "RemoteSocket",
    "Socket",
    "SocketServer",
    "SyncEmitter",
    "TooManyCalls",
    "__version__",
    "event",
    "serve",
    "serve_async",
    "serve_in_thread",
]

#: The modules that define the names above.
_MODULES: Final = {
    "NO_ACK": "sockets.namespace_core",
    "AckTimeout": "sockets.errors",
    "Broadcast": "sockets.broadcast",
    "ConnectRefused": "sockets.errors",
    "Cors": "engine.settings",
    "EmitFailed": "emitter.ports",
    "Emitter": "emitter.emitter",
    "EventRefused": "sockets.errors",
    "Handshake": "sockets.snapshot",
    "Namespace": "sockets.namespace",
    "NamespaceHandlers": "sockets.namespace_handlers",
    "RecoverySettings": "recovery.settings",
    "RedisAdapter": "redis_adapter.adapter",
    "RemoteSocket": "sockets.remote",
    "Socket": "sockets.socket",
    "SocketServer": "sockets.server",
    "SyncEmitter": "emitter.emitter",
    "TooManyCalls": "sockets.errors",
    "event": "sockets.namespace_handlers",
    "serve": "serving.server",
    "serve_async": "serving.server",
    "serve_in_thread": "serving.server",
}


if not TYPE_CHECKING:  # a type checker knows which names there are
    if find_spec("hiredis") is None:  # the extra `redis` is not installed
        __all__.remove("RedisAdapter")  # or `from synkora import *` would fail

    def __getattr__(name: str) -> Any:
        """Import a public name (PEP 562)."""
        if name == "__version__":
            from importlib.metadata import version

            value: Any = version("synkora")
        elif name in _MODULES:
            try:
                module = import_module(f"synkora.{_MODULES[name]}")
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError(advice(f"synkora.{name}", error), name=error.name) from None
            value = getattr(module, name)
        else:
            raise AttributeError(f"module 'synkora' has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
