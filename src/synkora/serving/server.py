"""Runs a Socket.IO server in uvicorn, over TLS or not, with signals and a graceful shutdown; `serve`."""

import asyncio
import contextlib
import functools
import gc
import math
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from synkora.engine.addresses import rate_limit_key
from synkora.engine.incidents import IncidentKind
from synkora.engine.logs import Log, fault
from synkora.engine.tasks import Tasks
from synkora.engine.transports.websocket_protocol import WebSocketProtocol
from synkora.serving import forward_drain
from synkora.serving.forwarding import Forwarder
from synkora.serving.hand_over import WorkerSockets
from synkora.serving.http_limits import HttpTimeouts
from synkora.serving.listen import BACKLOG, listen
from synkora.serving.memory import Upkeep
from synkora.serving.session_router import SessionRouter, SharedSessions
from synkora.serving.systemd import passed_sockets
from synkora.serving.tls_records import bound_records
from synkora.serving.uvicorn_polling import PollingProtocol
from synkora.sockets.internals import polling_of, registry_of, start
from synkora.sockets.server import SocketServer

if TYPE_CHECKING:  # a server without another application does not need Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

log = Log(__name__)

TLS_TIME: Final = 30  # seconds for the TLS handshake: several round trips over a slow line, each of some kilobytes
#: Kernel's receive buffer of a TLS connection, in bytes. uvloop reads all of it at once, and keeps
#: buffers of this size until the end of the connection.
TLS_WINDOW: Final = 65_536
_LAST_STEPS: Final = 0.5  # seconds for uvicorn to notice and to stop
#: Seconds for the first request of a connection that has been accepted at the end.
_LAST_REQUESTS: Final = 0.2
_CHECK: Final = 0.02  # seconds
_TAKE_OVER: Final = 0.0001  # seconds to begin a connection of another worker
_TLS_GOODBYE: Final = 2  # seconds
KEEP_ALIVE: Final = 65  # seconds: longer than most load balancers keep their connections open
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_STDIN: Final = 0
_EVERY_INTERFACE: Final = ("0.0.0.0", "::")  # noqa: S104  # only compared, not listened on
#: A further SIGTERM within this many seconds is the same one: a supervisor signals a process and its process group.
_SAME_SIGTERM: Final = 2
# Connections are long-lived and consist of many objects: young collections would traverse them repeatedly.
_GC_THRESHOLDS: Final = (20_000, 10, 20)


class Server(uvicorn.Server):
    """uvicorn's server, which closes a Socket.IO server's connections before its own.

    `around` is entered when what is kept for recovery has been loaded, before it listens, and left when the connections
    have ended. To stop, it refuses new clients and awaits `drain`, if given; then `before_close`; then the remaining
    connections are closed within `shutdown_timeout` seconds. Another signal cuts the drain short, and a later one ends
    the process. A SIGTERM within two seconds of a counted signal does not count. `reload` is called on SIGHUP, except
    in a terminal, where SIGHUP means that the terminal has closed. With `shared`, requests for sessions of other
    instances reach these instances.
    """

    def __init__(
        self,
        server: SocketServer,
        *,
        app: "ASGIApp | None" = None,
        around: AbstractAsyncContextManager[object] | None = None,
        drain: Callable[[], Coroutine[None, None, None]] | None = None,
        before_close: Callable[[], Awaitable[None]] | None = None,
        started: Callable[[list[socket.socket]], None] | None = None,
        shutdown_timeout: float = 5,
        keep_alive: float = KEEP_ALIVE,
        tls: ssl.SSLContext | None = None,
        reload: Callable[[], None] | None = None,
        shared: SharedSessions | None = None,
    ) -> None:
        self._sockets_server = _checked_server(server)
        self._reload = reload
        self._around = _checked_around(around)
        self._entered = AsyncExitStack()
        self._timeouts = HttpTimeouts(server.incidents)
        self._upkeep = Upkeep(self._count_connections)
        self._workers, self.forwarder, router = self._share(shared, server, keep_alive)
        self._make_protocol = functools.partial(PollingProtocol, polling_of(server), self._timeouts, router=router)
        self._taken_over = Tasks()
        self._listening: list[socket.socket] = []
        self._stopped_listening = False
        self._tls = tls
        self._count_tls: Callable[[], int] = int  # none
        if tls is not None:
            self._count_tls = bound_records(
                tls, functools.partial(server.incidents.note, IncidentKind.FLOODING_CLIENT_CUT_OFF)
            )
        self._drain = drain
        self._draining: asyncio.Task[None] | None = None
        self._is_patient = drain is not None
        self._signalled_at = -math.inf
        self._before_close = before_close
        self._started = started
        self._shutdown_timeout = shutdown_timeout
        super().__init__(
            uvicorn.Config(
                _Front(server, app),
                http=self._make_protocol,  # type: ignore[arg-type]  # called like a class
                ws=functools.partial(WebSocketProtocol, registry_of(server)),  # type: ignore[arg-type]  # called like a class
                loop="uvloop",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                backlog=BACKLOG,
                server_header=False,
                timeout_keep_alive=keep_alive,  # type: ignore[arg-type]  # a float works too
                proxy_headers=False,  # the engine has its own, which covers WebSocket
            )
        )

    def _share(
        self, shared: SharedSessions | None, server: SocketServer, keep_alive: float
    ) -> tuple[WorkerSockets | None, Forwarder | None, SessionRouter | None]:
        if shared is None:
            return None, None, None
        workers = None if shared.workers is None else WorkerSockets(shared.workers, shared.tag, self._take_over)
        forwarder = Forwarder(shared.owners, workers, most=shared.most, idle=keep_alive / 2)
        return workers, forwarder, SessionRouter(shared, registry_of(server), forwarder, workers)

    def _take_over(self, connection: socket.socket, data: bytes) -> None:
        """Continue a connection that another worker has accepted, and of which it has read `data`."""
        source = ""
        if connection.family != socket.AF_UNIX:  # it is a client's, not a worker's own
            with contextlib.suppress(OSError):  # the client has left
                source = rate_limit_key(connection.getpeername()[0])
        elsewhere = polling_of(self._sockets_server).elsewhere
        elsewhere.run(functools.partial(self._continue, connection, data), _TAKE_OVER, source)

    def _continue(self, connection: socket.socket, data: bytes) -> None:
        protocol = self._new_protocol()
        protocol.continue_with(data)
        self._taken_over.start(self._connect(protocol, connection))

    async def _connect(
        self, protocol: PollingProtocol, connection: socket.socket, tls: ssl.SSLContext | None = None
    ) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, connection, ssl=tls)
        except OSError:
            connection.close()  # the client has left

    def _new_protocol(self) -> PollingProtocol:
        return self._make_protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then call `started`."""
        await start(self._sockets_server)
        try:
            await self._entered.enter_async_context(self._around)
        except BaseException:
            for listening in sockets or []:
                listening.close()
            await self._sockets_server.close(0)
            raise
        self._listening = sockets or []
        if self._workers is not None:
            self._workers.start()
        if self._tls is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            self.servers = [await self._listen(listening) for listening in sockets or ()]
        gc.set_threshold(*_GC_THRESHOLDS)
        gc.freeze()
        self._upkeep.start()
        if self._started is not None and sockets is not None:
            self._started(sockets)
        elif sockets:
            log.info("listening", address=_address(sockets[0], is_tls=self._tls is not None))

    def _count_connections(self) -> int:
        accepted = len(self.server_state.connections) + registry_of(self._sockets_server).open_websockets
        return max(accepted, self._count_tls())

    async def listen_on(self, listening: socket.socket) -> asyncio.Server:
        """Accept connections from a further socket, until `stop_listening_on`."""
        server = await self._listen(socket.socket(fileno=os.dup(listening.fileno())))
        if self._stopped_listening:
            server.close()  # the shutdown waits for the end of the servers that it closes, and would not close this one
        else:
            self.servers.append(server)
        return server

    def stop_listening_on(self, server: asyncio.Server) -> None:
        """Accept no more connections from the socket of `listen_on`."""
        server.close()
        if server in self.servers:
            self.servers.remove(server)

    async def _listen(self, listening: socket.socket) -> asyncio.Server:
        """Listen like uvicorn, but with shorter timeouts for the start and end of TLS: uvicorn allows a minute."""
        tls = self._tls
        if tls is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TLS_WINDOW)  # connections inherit it
        return await asyncio.get_running_loop().create_server(
            self._new_protocol,
            sock=listening,
            ssl=tls,
            backlog=self.config.backlog,
            ssl_handshake_timeout=TLS_TIME if tls else None,
            ssl_shutdown_timeout=_TLS_GOODBYE if tls else None,
        )

    def stop_listening(self) -> None:
        """Accept no further connections, and end the open HTTP connections after their responses.

        Another process listens on the same socket. A connection without a request yet stays, and is served.
        """
        self._stopped_listening = True
        for listening in self.servers:
            listening.close()
        for connection in list(self.server_state.connections):
            if isinstance(connection, PollingProtocol) and connection.cycle is not None:
                connection.shutdown()

    def refuse_clients(self) -> None:
        """Open no further sessions."""
        registry_of(self._sockets_server).stop_accepting()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new clients, close the Socket.IO connections, then uvicorn's.

        The server listens until all clients have gone, since a poll for the last messages may use a new connection.
        """
        self.refuse_clients()
        if self._drain is not None:
            await self._drain_first(self._drain)
        loop = asyncio.get_running_loop()
        within = max(self._shutdown_timeout - _LAST_STEPS, 0)
        deadline = loop.time() + within
        loop.call_at(deadline, self._give_up)
        if self._before_close is not None:
            await self._before_close()
        await self._sockets_server.close(max(deadline - loop.time(), 0))
        if self.forwarder is not None:
            await self._finish_forwarded(self.forwarder, deadline)
        await super().shutdown(sockets)
        if self.forwarder is not None:
            self.forwarder.close()
        if self._workers is not None:
            self._workers.close()
        self._timeouts.cancel()
        self._upkeep.stop()
        await self._entered.aclose()

    async def drain_forwarded(self, seconds: float) -> None:
        """Let the clients leave that are connected through this server to others, evenly over `seconds`."""
        if self.forwarder is not None:
            await forward_drain.drain(self.forwarder, seconds)

    async def _finish_forwarded(self, forwarder: Forwarder, deadline: float) -> None:
        """Stop listening, answer what has been accepted, and end what is forwarded."""
        loop = asyncio.get_running_loop()
        self._accept_rest()
        self.stop_listening()
        until = min(loop.time() + _LAST_REQUESTS, deadline)
        while self._awaits_requests() and loop.time() < until:
            await asyncio.sleep(_CHECK)
        await forward_drain.finish(forwarder, max(deadline - loop.time(), 0))

    def _accept_rest(self) -> None:
        """Accept what waits at the listening sockets: the system would reset it when they close."""
        for listening in self._listening:
            with contextlib.suppress(OSError):  # nothing is left
                listening.setblocking(False)
                while True:
                    connection, _ = listening.accept()
                    connection.setblocking(False)
                    self._taken_over.start(self._connect(self._new_protocol(), connection, self._tls))

    def _awaits_requests(self) -> bool:
        """Whether a connection has been accepted that has sent no request yet."""
        return bool(self._taken_over) or any(
            isinstance(connection, PollingProtocol) and connection.cycle is None
            for connection in self.server_state.connections
        )

    async def _drain_first(self, drain: Callable[[], Coroutine[None, None, None]]) -> None:
        """Drain, until another signal cuts the drain short."""
        self._draining = asyncio.get_running_loop().create_task(drain())
        if not self._is_patient:
            self._draining.cancel()
        await asyncio.wait((self._draining,))
        self._is_patient = False
        if not self._draining.cancelled() and (error := self._draining.exception()) is not None:
            log.error("drain_failed", **fault(error))  # the remaining clients get the announcement as without a drain

    def _give_up(self) -> None:
        """Stop waiting for clients."""
        self.force_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal, without raising it again afterwards: the requested stop is a success."""
        if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        if self._reload is not None and not os.isatty(_STDIN):
            reload = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, self._reload)
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: reload())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # an earlier SIGHUP is delivered now
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; on a further signal cut the drain short, or else end immediately."""
        now = time.monotonic()
        if sig == signal.SIGTERM and now - self._signalled_at < _SAME_SIGTERM:
            return
        self._signalled_at = now
        if not self.should_exit:
            self.should_exit = True
        elif not self._is_patient:
            os._exit(128 + sig)
        else:
            self._is_patient = False
            if self._draining is not None:
                self._draining.get_loop().call_soon_threadsafe(self._draining.cancel)


class _Front:
    """Routes each HTTP request to Socket.IO or to the other application."""

    def __init__(self, server: SocketServer, app: "ASGIApp | None") -> None:
        self._settings = server.settings
        self._socketio = server.asgi
        self._app = app or _not_found

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if self._settings.serves(scope["path"]):
            await self._socketio(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _not_found(scope: "Scope", receive: "Receive", send: "Send") -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def _address(listening: socket.socket, *, is_tls: bool) -> str:
    """Return the URL of a listening socket for programs on this machine."""
    if listening.family == socket.AF_UNIX:
        return str(listening.getsockname())
    host, port = listening.getsockname()[:2]
    if host in _EVERY_INTERFACE:
        host = "localhost"
    return f"{'https' if is_tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _checked_server(server: object) -> SocketServer:
    """Return the server. Raises `TypeError` for anything else: a namespace, `server.asgi`, the class."""
    if isinstance(server, SocketServer):
        return server
    found = f"the class {server.__name__}" if isinstance(server, type) else f"a {type(server).__name__}"
    raise TypeError(f"serve takes a SocketServer, not {found}: server = SocketServer(), serve(server)")


def _checked_around(around: object) -> AbstractAsyncContextManager[object]:
    """Return the context manager to enter. Raises `TypeError` for anything else, such as a function not called."""
    if around is None:
        return contextlib.nullcontext()
    if isinstance(around, AbstractAsyncContextManager):
        return around
    if callable(around):
        name = getattr(around, "__name__", "function")
        raise TypeError(f"around is an asynchronous context manager: around={name}(), with parentheses")
    raise TypeError(f"around is an asynchronous context manager, not {around!r}")


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def serve(
    server: SocketServer,
    *,
    host: str = "",
    port: int = 3000,
    app: "ASGIApp | None" = None,
    around: AbstractAsyncContextManager[object] | None = None,
    drain: Callable[[], Coroutine[None, None, None]] | None = None,
    before_close: Callable[[], Awaitable[None]] | None = None,
    started: Callable[[list[socket.socket]], None] | None = None,
    shutdown_timeout: float = 5,
    keep_alive: float = KEEP_ALIVE,
    tls: ssl.SSLContext | None = None,
    reload: Callable[[], None] | None = None,
) -> None:
    """Run `server` until SIGINT or SIGTERM; `app` handles the HTTP requests outside Socket.IO's path.

    An empty `host` means every interface, port 0 any free port; with `tls` the server accepts only TLS. `around` is
    entered before clients are accepted, when the server can emit and gets messages of other servers, and left when the
    connections have ended. `started` is called with the listening sockets. To stop, the server refuses new clients and
    awaits `drain`, which another signal cuts short; then `before_close`; then the remaining connections are closed
    within `shutdown_timeout` seconds. `reload` is called on SIGHUP, except in a terminal. A connection without a
    request stays open for `keep_alive` seconds. Sockets from a service manager replace `host` and `port`
    (sd_listen_fds(3)). Without `started`, a line on stderr has the address.
    Raises `OSError` if it cannot listen, and `RuntimeError` within a running event loop.
    """
    if _is_in_a_loop():
        raise RuntimeError("serve runs an event loop of its own: within one, use await serve_async(server)")

    def say_where(listening: list[socket.socket]) -> None:
        address = _address(listening[0], is_tls=tls is not None)
        print(f"Socket.IO at {address} (Ctrl-C stops the server)", file=sys.stderr, flush=True)  # noqa: T201  # for a user at a terminal, not for a log

    running = Server(
        server,
        app=app,
        around=around,
        drain=drain,
        before_close=before_close,
        started=started or say_where,
        shutdown_timeout=shutdown_timeout,
        keep_alive=keep_alive,
        tls=tls,
        reload=reload,
    )
    running.run(passed_sockets() or listen(host, port))


async def serve_async(server: SocketServer, *, host: str = "", port: int = 3000, **options: Any) -> None:
    """Run `server` in the running event loop, with the options of `serve`, until a signal or a cancellation.

    After a cancellation, a graceful shutdown precedes the `CancelledError`. In the main thread it handles SIGINT and
    SIGTERM. The address is logged, unless `started` is given.
    """
    running = Server(server, **options)
    sockets = listen(host, port)
    serving = asyncio.get_running_loop().create_task(running.serve(sockets))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        running.should_exit = True
        await serving
        raise


@contextlib.contextmanager
def serve_in_thread(server: SocketServer, *, host: str = "127.0.0.1", port: int = 0, **options: Any) -> Iterator[int]:
    """Run `server` in a new thread with its own event loop, for the length of a `with` block.

    The block gets the port, by default a free one; `options` are those of `serve`. Handlers run in this thread. Raises
    the error that ends the thread before the server listens.
    """
    ready = threading.Event()
    failures: list[BaseException] = []
    told = options.pop("started", None)

    def started(listening: list[socket.socket]) -> None:
        if told is not None:
            told(listening)
        ready.set()

    running = Server(server, started=started, **options)
    sockets = listen(host, port)

    def run() -> None:
        try:
            running.run(sockets)
        except BaseException as error:  # noqa: BLE001  # raised again in the waiting thread
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="synkora")
    thread.start()
    try:
        ready.wait()
        if failures:
            raise failures[0]
        yield sockets[0].getsockname()[1]
    finally:
        running.should_exit = True
        thread.join()
