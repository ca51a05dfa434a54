"""The Socket.IO server: its options, namespaces, lifespan, background tasks and shutdown."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Never, TypeVar

from synkora.engine.addresses import TrustedProxies
from synkora.engine.connection_limiter import ConnectionLimiter
from synkora.engine.drain import drain
from synkora.engine.incidents import Incidents
from synkora.engine.logs import Log, fault
from synkora.engine.origins import Origins
from synkora.engine.registry import Registry
from synkora.engine.session import Session
from synkora.engine.settings import Cors, EngineSettings, TransportName
from synkora.engine.transports.asgi import AsgiEndpoint
from synkora.engine.transports.polling_endpoint import PollingEndpoint
from synkora.engine.transports.websocket import CLOSING_TIME
from synkora.recovery.memory import MemoryStore
from synkora.recovery.ports import RecoveryStore
from synkora.recovery.settings import RecoverySettings
from synkora.sockets import options, other_names
from synkora.sockets.allow_request import AllowRequest, asker
from synkora.sockets.broadcast import Broadcast
from synkora.sockets.broadcast_operators import BroadcastOperators
from synkora.sockets.client import Client
from synkora.sockets.client_host import ClientHost
from synkora.sockets.local_adapter import AdapterConnection, AdapterFactory
from synkora.sockets.namespace import Namespace, Pattern
from synkora.sockets.namespace_core import NamespaceCore
from synkora.sockets.namespace_handlers import NamespaceHandlers
from synkora.sockets.registration import Registration

T = TypeVar("T")

log = Log(__name__)

_DRAIN_CHECK: Final = 0.02  # seconds
_NOT_STARTED: Final = (
    "The server's adapter is not connected: enter server.lifespan in the application's lifespan, or run the server "
    "with serve"
)
_NOT_LOADED: Final = _NOT_STARTED.replace("adapter is not connected", "store for recovery is not loaded")
_LAST_STEPS: Final = 1  # seconds for cancelled tasks to end


@other_names.naming(other_names.METHODS)
class SocketServer(Registration, BroadcastOperators):
    """A Socket.IO v5 server. Durations are seconds, at most 3,600; sizes are bytes.

    - `ping_interval`: time between pings. `ping_timeout`: time for a client to answer a ping.
    - `connect_timeout`: time to connect to a first namespace. `upgrade_timeout`: time for the upgrade to WebSocket.
    - `max_payload`: largest message from a client, with its attachments.
    - `max_outbox`: largest backlog of a slow consumer. A client above the limit is disconnected.
    - `path`, `transports`: where and how clients connect, like the client's options with these names.
    - `origins`: pages that may connect besides the server's own, such as `["https://app.example"]` or `["*"]`.
    - `cors`: what browsers may do on pages of these origins.
    - `allow_request`: a `def` or an `async def` that gets the `Handshake` of each new session, without `auth`. Its
      result is headers of the response, or None. False, or `ConnectRefused`, refuses the session with 403.
    - `proxies`: addresses and networks of trusted proxies. Their `X-Forwarded-For` names the client.
    - `compression`: permessage-deflate for messages and gzip for polls, from `compression_threshold` up.
    - `write_interval`: least time between the writes of two turns of the event loop, at most 0.01. The loop sleeps for
      the rest of that time, so that a busy server reads and writes more at once, for less CPU time. 0: no sleep.
    - `connection_limiter`: limits on clients. There are no limits by default.
    - `adapter`: `RedisAdapter.from_url(…)`, or a function `(namespace, local_adapter) -> Adapter`, for several servers.
    - `instance`: begins the ids of the server's sessions, followed by a dot, so that a load balancer can route by it.
    - `recovery`: a client that returns after a lost connection gets its socket's id and rooms back, and the events
      that it missed (`socket.recovered`). True keeps events and sessions in memory within usual bounds, a
      `RecoverySettings` within its own. With an adapter of `RedisAdapter.from_url` they are in Redis, and a client may
      return to any server. A store keeps them where the store does.

    Handlers registered with the server, and events sent through it, belong to its main namespace, `/`. `asgi` is an
    ASGI application with only this server, which can be mounted in another one. `settings` has the options of the
    engine. Raises `TypeError` and `ValueError` for invalid options.
    """

    def __init__(
        self,
        *,
        ping_interval: float = 25,
        ping_timeout: float = 60,
        max_payload: int = 1_000_000,
        connect_timeout: float = 45,
        upgrade_timeout: float = 10,
        path: str = "/socket.io/",
        instance: str = "",
        transports: Sequence[TransportName] = ("polling", "websocket"),
        origins: Origins | Sequence[str] = (),
        allow_request: AllowRequest | None = None,
        cors: Cors = Cors(),  # noqa: B008  # immutable
        proxies: TrustedProxies | Sequence[str] = (),
        max_outbox: int = 4_000_000,
        compression: bool = False,
        compression_threshold: int = 1024,
        write_interval: float = 0,
        connection_limiter: ConnectionLimiter | None = None,
        adapter: AdapterFactory | None = None,
        recovery: bool | RecoverySettings | RecoveryStore = False,
        **unknown: Never,
    ) -> None:
        if unknown:
            known = [name for name in inspect.signature(SocketServer).parameters if name != "unknown"]
            raise other_names.unexpected("SocketServer", unknown, other_names.OPTIONS, known)
        if not isinstance(origins, Origins):
            origins = Origins(options.origins(origins))
        if not isinstance(proxies, TrustedProxies):
            proxies = TrustedProxies(options.texts("proxies", proxies, '["10.0.0.0/8"]'))
        self.settings = EngineSettings(
            path=options.path(path),
            instance=options.of_type("instance", instance, str, "a text"),
            transports=options.transports(transports),
            origins=origins,
            cors=options.of_type("cors", cors, Cors, "a Cors(…), and pages are named by origins"),
            proxies=proxies,
            ping_interval=options.seconds("ping_interval", ping_interval),
            ping_timeout=options.seconds("ping_timeout", ping_timeout),
            upgrade_timeout=options.seconds("upgrade_timeout", upgrade_timeout),
            max_payload=options.size("max_payload", max_payload),
            max_outbox=options.size("max_outbox", max_outbox),
            compression=options.of_type("compression", compression, bool, "True or False"),
            compression_threshold=options.size("compression_threshold", compression_threshold),
            write_interval=options.write_interval(write_interval),
        )
        connect_timeout = options.seconds("connect_timeout", connect_timeout)
        self._namespaces: dict[str, Namespace] = {}
        self._adapter = (
            None if adapter is None else options.function("adapter", adapter, 'RedisAdapter.from_url("redis://…")')
        )
        self._connection = adapter if isinstance(adapter, AdapterConnection) else None
        if connection_limiter is not None:
            options.of_type("connection_limiter", connection_limiter, ConnectionLimiter, "a ConnectionLimiter(…)")
        self._registry = Registry(self.settings, self._accept, connection_limiter)
        self._recovery = _recovery_store(recovery, adapter)
        if self._connection is not None:
            self._registry.unavailable = (500, _NOT_STARTED)
        elif self._recovery is not None and not isinstance(recovery, bool | RecoverySettings):
            self._registry.unavailable = (500, _NOT_LOADED)
        if allow_request is not None:
            self._registry.ask = asker(options.function("allow_request", allow_request, "a function of the handshake"))
        self._polling = PollingEndpoint(self._registry)
        self.asgi = AsgiEndpoint(self._registry, self._polling, self.lifespan)
        self._host = ClientHost(self.settings, self._registry, connect_timeout, self._find)
        self._patterns: list[Namespace] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._lasting: set[asyncio.Task[Any]] = set()

    def of(self, name: str | Pattern) -> Namespace:
        """Return the namespace of this name, and make the namespace first if there is none.

        A pattern, or a function of a name, makes dynamic namespaces. Raises `ValueError` for a name that clients cannot
        send, and `TypeError` for a value of another type.
        """
        found = self._namespaces.get(name) if isinstance(name, str) else None
        if found is None:
            if isinstance(name, Namespace | NamespaceHandlers):
                raise TypeError("of takes a name: an object goes to server.add")
            found = Namespace(name)
            self.add(found)
        return found

    def add(self, namespace: Namespace | NamespaceHandlers) -> Namespace:
        """Make a namespace part of this server, and return the namespace.

        Raises `ValueError` if the server has a namespace of this name, or another server has the namespace. Raises
        `TypeError` for a class: an object of the class is needed.
        """
        if isinstance(namespace, NamespaceHandlers):
            if not hasattr(namespace, "namespace"):
                raise TypeError(f"{type(namespace).__name__}.__init__ does not call super().__init__(name)")
            namespace = namespace.namespace
        if isinstance(namespace, type):
            raise TypeError(f'add takes an object of a class: server.add({namespace.__name__}("/chat"))')
        if not isinstance(namespace, Namespace):
            raise TypeError(f"add takes a Namespace, or an object of a class of handlers, not {namespace!r}")
        core = namespace._core
        if core.name in self._namespaces:
            hint = ": add it before the first on, use or emit of the server" if core.name == "/" else ""
            raise ValueError(f"the server has a namespace {core.name} already{hint}")
        if core.is_bound:
            raise ValueError(f"{core.name} is part of a server already")
        if namespace._pattern is not None:
            self._patterns.append(namespace)
        else:
            replay = self.settings.max_outbox // 2
            flusher, arrivals = self._registry.flusher, self._registry.arrivals
            core.bind(flusher, arrivals, self._spawn, self._adapter, self._recovery, replay)
            self._namespaces[core.name] = namespace
        return namespace

    @property
    def namespaces(self) -> dict[str, Namespace]:
        """A copy of the namespaces by name. It includes a dynamic namespace after a client has connected to it."""
        return dict(self._namespaces)

    def _find(self, name: str) -> NamespaceCore | None:
        """Return the namespace that a client asks for; create a dynamic namespace if its name matches."""
        found = self._namespaces.get(name)
        if found is None:
            parent = next((pattern for pattern in self._patterns if pattern._matches(name)), None)
            if parent is None:
                return None
            given_up = parent._give_up_child()
            if given_up is not None:
                del self._namespaces[given_up]
            if len(parent._children) >= parent._max_children:
                return None
            found = self.add(parent._child(name))
        return found._core

    @property
    def _core(self) -> NamespaceCore:  # type: ignore[override]  # the server's handlers are those of its main namespace
        return self.of("/")._core

    def start_background_task(
        self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any, **keywords: Any
    ) -> asyncio.Task[T | None]:
        """Run `function(*args, **keywords)` in a task that is cancelled when the server closes.

        An exception is logged, and ends the task with None. Raises `TypeError` for a function that is not a coroutine
        function, and for a coroutine: `start_background_task(tick, 1)`, not `start_background_task(tick(1))`. Raises
        `RuntimeError` without a running event loop.
        """
        given: object = function
        if inspect.iscoroutine(given):
            given.close()
            raise TypeError(f"start_background_task calls the function: start_background_task({given.__name__}, …)")
        options.function("the first argument of start_background_task", function, "an async def")
        name = getattr(function, "__qualname__", repr(function))
        is_def = f"start_background_task takes an async def, and {name} is a def"
        if _is_def(function):
            raise TypeError(is_def)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "start_background_task needs a running event loop: call it in a handler, or in the context manager of "
                "serve(server, around=…)"
            ) from None
        work = function(*args, **keywords)
        if not inspect.isawaitable(work):
            raise TypeError(is_def)
        task = loop.create_task(_logged(name, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def incidents(self) -> Incidents:
        """Counts of refused clients, broken packets and limits that clients have reached."""
        return self._registry.incidents

    @property
    def websocket_protocol(self) -> type[asyncio.Protocol]:
        """The class for `uvicorn.Config(app, ws=…)`, if `asgi` is mounted in `app`: faster WebSockets than by ASGI."""
        # Imported here: it imports uvicorn's own WebSockets, which the server alone never needs.
        from synkora.engine.transports.uvicorn_websocket import protocol_for

        return protocol_for(self._registry, self._registry.close)

    @property
    def everyone(self) -> Broadcast:
        """A broadcast to all sockets of the main namespace."""
        return self.of("/").everyone

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncIterator[None]:
        """The `lifespan` for Starlette and FastAPI: connects the adapter first, and ends all connections at the end."""
        try:
            await self._start()
            yield
        finally:
            await self.close(CLOSING_TIME)

    async def _start(self) -> None:
        if self._recovery is not None:
            await self._recovery.start()
            for namespace in self.namespaces.values():
                if namespace._core.recovery is not None:
                    namespace._core.recovery.start()
        if self._connection is not None:
            await self._connection.start()
        if self._registry.unavailable is not None and self._registry.unavailable[1] in (_NOT_STARTED, _NOT_LOADED):
            self._registry.unavailable = None

    async def drain(self, seconds: float) -> None:
        """Disconnect all clients within `seconds`, evenly and in random order, and refuse new clients.

        Events that clients sent before they knew of the drain are still handled, except over WebSockets of an ASGI
        server without `websocket_protocol`. Returns when all clients have gone, or the time is over.
        """
        await drain(self._registry, seconds)

    async def close(self, within: float) -> bool:
        """End all connections after their last messages, and wait up to `within` seconds for their ends.

        Returns whether all connections have ended. Clients reconnect by themselves, if they find a server. Background
        tasks are cancelled. A closed server cannot be used again.
        """
        self._registry.close()
        self._host.connecting.cancel()
        self._host.leaving.cancel()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while not self._registry.is_drained and loop.time() < deadline:
            await asyncio.sleep(_DRAIN_CHECK)
        if self._lasting:
            await asyncio.wait(self._lasting, timeout=max(deadline - loop.time(), 0))
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_STEPS)
        if self._connection is not None:
            await self._connection.close()
        if self._recovery is not None:
            await self._recovery.close()
        return self._registry.is_drained

    def _accept(self, session: Session) -> Client:
        return self._host.accept(session)

    def _spawn(self, coroutine: Coroutine[Any, Any, None], *, lasting: bool = False) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        for tasks in (self._tasks, self._lasting) if lasting else (self._tasks,):
            tasks.add(task)
            task.add_done_callback(tasks.discard)


def _recovery_store(
    recovery: bool | RecoverySettings | RecoveryStore, adapter: AdapterFactory | None
) -> RecoveryStore | None:
    """Return the store of events and sessions: in memory, or for several servers the adapter's."""
    if recovery is False:
        return None
    if not isinstance(recovery, bool | RecoverySettings):
        if not hasattr(recovery, "sessions"):
            raise TypeError(f"recovery is True, False, a RecoverySettings(…) or a store, not {recovery!r}")
        return recovery
    settings = RecoverySettings() if recovery is True else recovery
    if adapter is None:
        return MemoryStore(settings)
    make_store = getattr(adapter, "recovery_store", None)
    if make_store is None:
        raise ValueError(
            "with an adapter, recovery is a store that the servers share, or needs RedisAdapter.from_url(…)"
        )
    store: RecoveryStore = make_store(settings)
    return store


def _is_def(function: Callable[..., object]) -> bool:
    """Whether a function is a `def` that does not say that it makes a coroutine. A lambda cannot say so."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not inspect.isroutine(function) or inspect.iscoroutinefunction(function) or function.__name__ == "<lambda>":
        return False
    return getattr(function, "__annotations__", {}).get("return") in (None, "None")


async def _logged(name: str, work: Awaitable[T]) -> T | None:
    try:
        return await work
    except Exception as error:  # noqa: BLE001  # it is logged
        log.error("background_task_failed", task=name, **fault(error))
        return None
