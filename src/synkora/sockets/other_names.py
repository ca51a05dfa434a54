"""Names of python-socketio and Socket.IO on Node.js and their equivalents here, for error messages.

docs/from-python-socketio.md has the same names with examples. Sources: python-socketio.readthedocs.io, "API Reference";
socket.io/docs/v4, "Server options" and "Server API".
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from typing import Final, Never, TypeVar

T = TypeVar("T")

_SMALL: Final = re.compile(r"_([a-z])")
_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

#: Options of a server.
OPTIONS: Final = {
    "allow_upgrades": 'name the transports, as in transports=["websocket"]',
    "always_connect": "leave it out, what on_connect emits is sent after the client is admitted",
    "async_handlers": 'order is an option of a handler, @server.on("say", ordered=True)',
    "async_mode": "leave it out, asyncio is the only mode",
    "client_manager": 'adapter=RedisAdapter.from_url("redis://…")',
    "cookie": "leave it out, the server sets no cookie",
    "cors_allowed_origins": 'origins=["https://app.example"]',
    "cors_credentials": "cors=Cors(credentials=…)",
    "engineio_logger": 'configure the logger "synkora" of logging',
    "http_compression": "compression=True",
    "json": "leave it out, handlers have types and JSON is read by msgspec",
    "logger": 'configure the logger "synkora" of logging',
    "max_http_buffer_size": "max_payload, in bytes",
    "monitor_clients": "leave it out, clients are always monitored",
    "namespaces": "leave it out, clients may connect to the namespaces that server.of and server.add have made",
    "per_message_deflate": "compression=True",
    "serializer": "leave it out, there is only the standard parser",
}

#: Keyword arguments of `emit` and `call`.
SENDING: Final = {
    "callback": "await socket.call(event, …)",
    "data": "arguments follow the event, emit(event, data)",
    "ignore_queue": "server.local.emit(event, …)",
    "namespace": 'server.of("/chat").emit(event, …)',
    "room": 'server.to("room").emit(event, …)',
    "sid": "await socket.call(event, …)",
    "skip_sid": 'socket.to("room").emit(event, …), or server.except_(socket.id).emit(event, …)',
    "to": 'server.to("room").emit(event, …), or socket.emit(event, …) to one client',
}

#: Keyword arguments of `on` and `once`.
REGISTERING: Final = {"namespace": 'server.of("/chat").on(event)'}

#: Methods of a server.
METHODS: Final = {
    "attach": "server.asgi, mounted in an ASGI application",
    "close_room": 'server.in_("room").sockets_leave("room")',
    "disconnect": "socket.disconnect()",
    "enter_room": 'socket.join("room")',
    "event": '@server.on("say")',
    "get_environ": "socket.handshake",
    "get_session": "socket.data",
    "leave_room": 'socket.leave("room")',
    "listen": "serve(server, port=3000)",
    "register_namespace": 'server.add(Chat("/chat"))',
    "rooms": "socket.rooms",
    "save_session": "socket.data",
    "send": 'server.emit("message", …)',
    "session": "socket.data",
    "shutdown": "await server.close(5)",
    "sleep": "await asyncio.sleep(1)",
    "transport": "socket.transport",
}

#: Attributes and methods of a socket.
SOCKET: Final = {
    "emit_with_ack": "await socket.call(event, …, timeout=60)",
    "enter_room": 'socket.join("room")',
    "get_environ": "socket.handshake",
    "get_session": "socket.data",
    "leave_room": 'socket.leave("room")',
    "nsp": "socket.namespace",
    "off": "server.off(event)",
    "on": "handlers are registered once for all clients, @server.on(event)",
    "once": "handlers are registered once for all clients, @server.once(event)",
    "save_session": "socket.data",
    "send": 'socket.emit("message", …)',
    "session": "socket.data",
    "sid": "socket.id",
    "timeout": "await socket.call(event, …, timeout=60)",
}


def unexpected(what: str, given: Mapping[str, object], names: Mapping[str, str], known: Collection[str]) -> TypeError:
    """Return the error for unknown keyword arguments: `names` has replacements, `known` are the valid arguments."""
    name = next(iter(given))
    instead = _instead(name, names, known)
    if instead is None:
        near = difflib.get_close_matches(name, known, 1)
        instead = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}" if known else ""
    return TypeError(f"{what} takes no {name}" + (f": {instead}" if instead else ""))


class _Elsewhere:
    """An attribute that does not exist: it raises `AttributeError` with the replacement.

    `__getattr__` would make the access to every other attribute slower.
    """

    def __init__(self, name: str, instead: str) -> None:
        self._name = name
        self._instead = instead

    def __get__(self, owner: object, kind: type) -> Never:
        raise AttributeError(f"{kind.__name__} has no {self._name}: {self._instead}", name=self._name, obj=owner)


def naming(names: Mapping[str, str]) -> Callable[[type[T]], type[T]]:
    """Return a class decorator: these names, and the class's names in camelCase, raise with the replacement."""

    def name(kind: type[T]) -> type[T]:
        own = {_SMALL.sub(lambda found: found[1].upper(), each): each for each in dir(kind) if each[0] != "_"}
        spoken = {_SMALL.sub(lambda found: found[1].upper(), each): instead for each, instead in names.items()}
        for each, instead in {**own, **spoken, **names}.items():
            if not hasattr(kind, each):
                setattr(kind, each, _Elsewhere(each, instead))
        return kind

    return name


def _instead(name: str, names: Mapping[str, str], known: Collection[str]) -> str | None:
    plain = _CAPITAL.sub("_", name).lower()  # camelCase is JavaScript's
    if plain in names:
        return names[plain]
    return f"{plain} is its name here, and durations are seconds" if plain != name and plain in known else None
