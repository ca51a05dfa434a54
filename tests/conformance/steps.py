"""The steps of the conformance tables' rows, and their runner."""

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import websockets.exceptions
from tests.support.servers import Address, until
from websockets.asyncio.client import ClientConnection, connect

from synkora.engine.registry import Registry

PATIENCE = 60  # seconds: far more than anything here takes on a busy machine, so that only what never comes fails

Check = str | bytes | Callable[[Any], object] | re.Pattern[str]


@dataclass(frozen=True)
class Request:
    """An HTTP request and its response; `{sid}` in the query is the session's id.

    A body that is a pattern is searched for; one that is a function is called with the body. With `later` the answer is
    awaited by `Answered`, and with `abort` the request is aborted: both are for pending polls.
    """

    query: str = "EIO=4&transport=polling&sid={sid}"
    method: str = "GET"
    content: str | bytes = ""
    status: int = 200
    body: Check | None = None
    later: str = ""
    abort: bool = False


@dataclass(frozen=True)
class Answered:
    """The answer to a request that was sent with `later`."""

    name: str


@dataclass(frozen=True)
class Open:
    """A session by long polling, whose id is `{sid}` from now on."""


@dataclass(frozen=True)
class Dial:
    """A WebSocket by its name. With `refused`, it must not be opened."""

    query: str = "EIO=4&transport=websocket"
    name: str = "ws"
    refused: bool = False


@dataclass(frozen=True)
class Send:
    messages: Sequence[str | bytes]
    name: str = "ws"


@dataclass(frozen=True)
class Expect:
    """The next messages over a WebSocket, without pings unless `pings` is set."""

    messages: Sequence[Check]
    name: str = "ws"
    pings: bool = False


@dataclass(frozen=True)
class Closed:
    name: str = "ws"


@dataclass(frozen=True)
class TimedOut:
    """The server ends the session, without an answer to its ping."""


Step = Request | Answered | Open | Dial | Send | Expect | Closed | TimedOut


@dataclass(frozen=True)
class Row:
    """A named rule of the protocol, and the steps that show it. With `quick`, over a server with short timeouts."""

    name: str
    steps: Sequence[Step]
    quick: bool = False


def handshake(upgrades: list[str], **expected: object) -> Callable[[Any], object]:
    """Whether a packet is an OPEN packet with exactly the five fields of the protocol."""

    def check(packet: Any) -> bool:
        assert packet.startswith("0")
        value = json.loads(packet[1:])
        assert set(value) == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
        assert isinstance(value["sid"], str)
        assert value["upgrades"] == upgrades
        assert {key: value[key] for key in expected} == expected
        return True

    return check


class Runner:
    def __init__(self, address: Address, registry: Registry, stack: AsyncExitStack) -> None:
        self._registry = registry
        self._base = f"{address.http}{address.path}"
        self._stack = stack
        self._http: httpx.AsyncClient | None = None
        self._sockets: dict[str, ClientConnection] = {}
        self._later: dict[str, tuple[asyncio.Task[httpx.Response], Request]] = {}
        self._sid = ""

    async def run(self, row: Row) -> None:
        self._http = await self._stack.enter_async_context(httpx.AsyncClient(timeout=PATIENCE, trust_env=False))
        for step in row.steps:
            async with asyncio.timeout(PATIENCE):
                await self._step(step)

    async def _step(self, step: Step) -> None:
        match step:
            case Open():
                packet = (await self._request(Request("EIO=4&transport=polling"))).text
                self._sid = json.loads(packet[1:])["sid"]
            case Request():
                await self._start(step)
            case Answered(name):
                task, request = self._later.pop(name)
                self._check(await task, request)
            case Dial():
                await self._dial(step)
            case Send(messages, name):
                for message in messages:
                    await self._sockets[name].send(message)
            case Expect(messages, name, pings):
                for expected in messages:
                    matches(await self._receive(name, pings), expected)
            case Closed(name):
                await self._sockets[name].wait_closed()
            case TimedOut():
                await until(lambda: len(self._registry) == 0)

    async def _request(self, request: Request) -> httpx.Response:
        assert self._http is not None
        url = f"{self._base}?{request.query.format(sid=self._sid)}"
        return await self._http.request(request.method, url, content=request.content or None)

    async def _start(self, request: Request) -> None:
        if not request.later and not request.abort:
            self._check(await self._request(request), request)
            return
        task = asyncio.create_task(self._request(request))
        # Only the server knows that a poll has arrived.
        await until(lambda: self._registry.find(self._sid).transport.writable)
        if request.abort:
            task.cancel()
            await until(lambda: len(self._registry) == 0)
        else:
            self._later[request.later] = (task, request)

    @staticmethod
    def _check(response: httpx.Response, request: Request) -> None:
        assert response.status_code == request.status, response.text
        if request.body is not None:
            matches(response.text, request.body)

    async def _dial(self, step: Dial) -> None:
        url = f"{self._base}?{step.query.format(sid=self._sid)}".replace("http://", "ws://")
        try:
            self._sockets[step.name] = await self._stack.enter_async_context(connect(url, proxy=None, compression=None))
        except websockets.exceptions.InvalidStatus:
            assert step.refused
        else:
            assert not step.refused

    async def _receive(self, name: str, pings: bool) -> str | bytes:
        connection = self._sockets[name]
        while (message := await connection.recv()) == "2" and not pings:
            await connection.send("3")
        return message


def matches(found: str | bytes, expected: Check) -> None:
    """Fail unless `found` is as expected."""
    if isinstance(expected, re.Pattern):
        assert isinstance(found, str)
        assert expected.search(found), found
    elif isinstance(expected, str | bytes):
        assert found == expected
    else:
        assert expected(found)
