"""Real servers of the tests, in the test's own event loop, on a free port of the loopback address."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from tests.support.processes import PATIENCE

from synkora.engine.close_reasons import Reason
from synkora.engine.message import ControlPacket
from synkora.engine.registry import Registry
from synkora.engine.session import Session
from synkora.engine.settings import EngineSettings
from synkora.engine.transports.asgi import AsgiEndpoint
from synkora.engine.transports.polling_endpoint import PollingEndpoint
from synkora.engine.transports.websocket_protocol import WebSocketProtocol
from synkora.engine.turn_budget import TurnBudget
from synkora.serving.http_limits import HttpTimeouts
from synkora.serving.listen import listen
from synkora.serving.server import Server
from synkora.serving.uvicorn_polling import PollingProtocol
from synkora.sockets.server import SocketServer

QUEUED = 10_000  # works


@dataclass(frozen=True)
class Address:
    """The address of a test's server, and its Engine.IO path."""

    port: int
    path: str

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, transport: str = "polling", sid: str | None = None, **query: str) -> str:
        """The address of a request, over HTTP or WebSocket as its transport needs."""
        scheme = "ws" if transport == "websocket" else "http"
        rest = "".join(f"&{name}={value}" for name, value in query.items())
        session = "" if sid is None else f"&sid={sid}"
        return f"{scheme}://127.0.0.1:{self.port}{self.path}?EIO=4&transport={transport}{session}{rest}"


@asynccontextmanager
async def running(server: uvicorn.Server, path: str) -> AsyncIterator[Address]:
    # uvicorn's own loop between start and stop looks ten times a second whether to stop: tests do not wait for that.
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    sockets = listen("127.0.0.1", 0)
    await server.startup(sockets)
    try:
        yield Address(sockets[0].getsockname()[1], path)
    finally:
        await server.shutdown(sockets)


@asynccontextmanager
async def serving(server: SocketServer, **options: Any) -> AsyncIterator[Address]:
    """Run a Socket.IO server. Remaining clients are disconnected."""
    options.setdefault("shutdown_timeout", 0.05)
    async with running(Server(server, **options), server.settings.path) as address:
        yield address


class Recorder:
    """A listener that keeps a session's messages, and optionally echoes them."""

    def __init__(self, session: Session, *, echoes: bool = False) -> None:
        self.session = session
        self.messages: list[bytes] = []
        self.reasons: list[Reason] = []
        self._echoes = echoes

    def on_message(self, data: bytes) -> None:
        self.messages.append(data)
        if self._echoes:
            self.session.send(data)

    def on_binary(self, data: bytes) -> None:
        self.messages.append(data)
        if self._echoes:
            self.session.outbox.put(Binary(data))

    def on_close(self, reason: Reason) -> None:
        self.reasons.append(reason)


class Binary(ControlPacket):
    """A binary Engine.IO packet without the text packet that Socket.IO sends before it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(b"", (data,))
        self.frames = self.frames.removeprefix(b"\x81\x00")  # an empty text frame

    def messages(self, *, base64: bool = False) -> list[str | bytes]:
        return super().messages(base64=base64)[1:]

    def base64_frames(self) -> bytes:
        return super().base64_frames().removeprefix(b"\x81\x00")

    def deflated_frames(self, threshold: int) -> bytes:
        return super().deflated_frames(threshold).removeprefix(b"\x81\x00")

    def polling_part(self) -> bytes:
        return super().polling_part().removeprefix(b"\x1e")


class Engine:
    """A bare Engine.IO server, whose sessions' listeners are recorders."""

    def __init__(self, *, echoes: bool = False, **settings: Any) -> None:
        self.recorders: list[Recorder] = []
        self._echoes = echoes
        self.registry = Registry(EngineSettings(**{"path": "/engine.io/", **settings}), self._accept)

    def share(self, budget: TurnBudget | None) -> None:
        """Let all sessions share a budget."""
        for recorder in self.recorders:
            recorder.session.budget = budget

    def _accept(self, session: Session) -> Recorder:
        recorder = Recorder(session, echoes=self._echoes)
        self.recorders.append(recorder)
        return recorder


@asynccontextmanager
async def serving_engine(
    engine: Engine, *, polls_by_call: bool = False, portable: bool = False
) -> AsyncIterator[Address]:
    """Run an Engine.IO server, its polls by ASGI as with any ASGI server, or by the plain call of `serve`.

    Its WebSockets are picows', or with `portable` uvicorn's, by ASGI as well.
    """
    endpoint = PollingEndpoint(engine.registry)
    path = engine.registry.settings.path
    patience = HttpTimeouts(engine.registry.incidents)
    picows: Any = functools.partial(WebSocketProtocol, engine.registry)  # uvicorn calls it as it would a class
    config = uvicorn.Config(
        AsgiEndpoint(engine.registry, endpoint, contextlib.nullcontext),
        http=functools.partial(PollingProtocol, endpoint, patience) if polls_by_call else "httptools",  # type: ignore[arg-type]  # called as a class would be
        ws="auto" if portable else picows,
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    async with running(uvicorn.Server(config), path) as address:
        try:
            yield address
        finally:
            engine.registry.close()
            patience.cancel()


async def most_in_one_turn(count: Callable[[], int], end: int) -> int:
    """Wait until `count()` is `end`, and return its largest increase in one turn of the event loop."""
    most = 0
    async with asyncio.timeout(PATIENCE):
        while (before := count()) < end:
            await asyncio.sleep(0)
            most = max(most, count() - before)
    return most


@contextmanager
def queued(budget: TurnBudget) -> Iterator[Callable[[], int]]:
    """Let `QUEUED` works of no known source wait, each of them again and again, and one of a source be done in a turn.

    Yields a function that returns how many of them have been done.
    """
    done = 0

    def work() -> None:
        nonlocal done
        done += 1
        if budget.share < 1:
            budget.run(work)

    budget.share = 1e-9
    budget.run(lambda: None)  # what follows waits
    for _ in range(QUEUED):
        budget.run(work)
    try:
        yield lambda: done
    finally:
        budget.share = 1


@contextmanager
def crowded(*budgets: TurnBudget) -> Iterator[None]:
    """Let work of others wait ahead of any new work, and more behind it. A turn has time for one of them."""
    loop = asyncio.get_running_loop()
    handle: asyncio.Handle

    def others() -> None:
        nonlocal handle
        for budget in budgets:
            budget.run(lambda: None)
        handle = loop.call_soon(others)

    for budget in budgets:
        budget.share = 1e-9
    for _ in range(3):
        others()
        handle.cancel()
    others()
    try:
        yield
    finally:
        handle.cancel()


async def until(condition: Any, within: float = PATIENCE) -> None:
    """Wait until `condition()` holds. Fails if it does not within some seconds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.002)
