"""The real Socket.IO clients in JavaScript and in Python, with one interface."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

import aiohttp
import socketio  # type: ignore[import-untyped]  # python-socketio has no type information
from tests.support.node_process import Message, NodeProcess
from tests.support.positions import without_position
from tests.support.processes import PATIENCE
from tests.support.users import ALICE, BOB, CAROL, PROJECT

#: The web app's options of its client, besides `auth`.
APP_OPTIONS = {"autoConnect": False, "reconnection": True, "reconnectionDelay": 1000, "reconnectionDelayMax": 30000}


class Refused(Exception):
    """The server's CONNECT_ERROR or the transport's failure, with its message."""


class Way(NamedTuple):
    """The client and its transports (None: its default), and further options of the JavaScript one."""

    language: str
    transports: tuple[str, ...] | None
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def upgrades(self) -> bool:
        """Whether it begins with polling and upgrades to WebSocket."""
        return self.transports is None


WAYS = {
    "js-polling": Way("js", ("polling",)),
    "js-websocket": Way("js", ("websocket",)),
    "js-upgrade": Way("js", None),
    "python-polling": Way("python", ("polling",)),
    "python-websocket": Way("python", ("websocket",)),
    "python-upgrade": Way("python", None),
}


class Driver(Protocol):
    async def open(self, url: str, auth: object, headers: dict[str, str]) -> None: ...

    async def emit(self, *event: Any) -> None: ...

    async def call(self, *event: Any) -> Any:
        """Emit an event and return the arguments of its ack."""
        ...

    async def close(self) -> None: ...


class Inbox:
    """A list that can be awaited. `owner` is named if nothing comes."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.items: list[Any] = []
        self._taken = 0
        self._arrived = asyncio.Event()

    def put(self, item: Any) -> None:
        self.items.append(item)
        self._arrived.set()

    @property
    def untaken(self) -> list[Any]:
        """The received messages that were not returned yet."""
        return self.items[self._taken :]

    async def next(self) -> Any:
        """The next message. If none comes, it fails with the received ones."""
        try:
            async with asyncio.timeout(PATIENCE):
                while self._taken == len(self.items):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"{self.owner} got nothing more after {self.items[-10:]}") from None
        self._taken += 1
        return self.items[self._taken - 1]


class Client:
    """A client with its record: `events` are lists of name and arguments, without positions, `changes` its states."""

    def __init__(self, owner: str, way: Way, node: NodeProcess) -> None:
        self.way = way
        self.id = ""
        self.events = Inbox(owner)
        self.changes = Inbox(owner)
        self.upgrades = Inbox(owner)
        self.is_open = False
        self._driver: Driver = JsDriver(self, node) if way.language == "js" else PythonDriver(self)

    async def connect(self, url: str, auth: object, headers: dict[str, str] | None = None) -> None:
        """Connect. Raises `Refused`."""
        self.is_open = True
        await self._driver.open(url, auth, headers or {})
        change = await self.changes.next()
        if change[0] != "connect":
            raise Refused(*change[1:])

    async def upgraded(self) -> None:
        assert await self.upgrades.next() == "websocket"

    async def emit(self, *event: Any) -> None:
        await self._driver.emit(*event)

    async def call(self, *event: Any) -> Any:
        """Emit an event and return the arguments of its ack."""
        return await self._driver.call(*event)

    async def next(self) -> list[Any]:
        """The next message. If none comes, it fails with the received ones."""
        event: list[Any] = await self.events.next()
        return event

    async def expect(self, name: str) -> Any:
        """The argument of the next event, which must be `name`."""
        event, *args = await self.next()
        assert event == name, f"{self.events.owner} got {event} {args}, not {name}"
        assert len(args) == 1
        return args[0]

    async def hears_nothing(self) -> None:
        """Fail if anything comes before the answer to a ping that is sent now."""
        await self.emit("ping")
        await self.expect("pong")

    async def close(self) -> None:
        if self.is_open:
            self.is_open = False
            await self._driver.close()

    def changed(self, change: list[Any]) -> None:
        """Record the connection's state."""
        if change[0] == "upgrade":
            self.upgrades.put(change[1])
        else:
            if change[0] == "connect":
                self.id = change[1]
            self.changes.put(change)


class JsDriver:
    def __init__(self, client: Client, node: NodeProcess) -> None:
        self._client = client
        self._node = node
        self._name = node.listen(self._heard)

    def _heard(self, message: Message) -> None:
        if "event" in message:
            self._client.events.put(without_position(message["event"]))
        else:
            self._client.changed(message["change"])

    async def open(self, url: str, auth: object, headers: dict[str, str]) -> None:
        options = {**APP_OPTIONS, "auth": auth, "extraHeaders": headers, **dict(self._client.way.options)}
        if self._client.way.transports:
            options["transports"] = self._client.way.transports
        self._node.order("open", name=self._name, url=url, options=options)

    async def emit(self, *event: Any) -> None:
        self._node.order("emit", name=self._name, event=event)

    async def call(self, *event: Any) -> Any:
        """Emit an event and return the arguments of its ack."""
        return await self._node.ask("call", name=self._name, event=event)

    async def close(self) -> None:
        self._node.order("close", name=self._name)


class PythonDriver:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._namespace = "/"
        # Its own HTTP session it would leave open where it is refused, and answers to its POSTs it leaves unread.
        self._answers: list[aiohttp.ClientResponse] = []
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._answered)
        self._http = aiohttp.ClientSession(trace_configs=[trace])
        self._sio = socketio.AsyncClient(reconnection_delay=1, http_session=self._http)

    async def _answered(self, _: object, __: object, end: aiohttp.TraceRequestEndParams) -> None:
        self._answers.append(end.response)

    def _listen(self) -> None:
        client, on, namespace = self._client, self._sio.on, self._namespace
        on("*", lambda event, *args: client.events.put(without_position([event, *args])), namespace)
        on("connect", lambda: client.changed(["connect", self._sio.get_sid(namespace)]), namespace)
        on("connect_error", lambda error: client.changed(["connect_error", _words(error)]), namespace)
        on("disconnect", lambda reason: client.changed(["disconnect", reason]), namespace)

    async def open(self, url: str, auth: object, headers: dict[str, str]) -> None:
        scheme, _, rest = url.partition("://")
        host, slash, namespace = rest.partition("/")
        self._namespace = slash + namespace or "/"
        self._listen()
        transports = self._client.way.transports
        try:
            await self._sio.connect(
                f"{scheme}://{host}",
                headers,
                auth,
                transports=transports and list(transports),
                namespaces=[self._namespace],
                wait=False,
            )
        except socketio.exceptions.ConnectionError as error:
            # The refusal of the namespace came before, with a better message.
            if not self._client.changes.items:
                self._client.changed(["connect_error", str(error)])
        else:
            if self._client.way.upgrades:
                self._client.upgrades.put(self._sio.transport())

    async def emit(self, *event: Any) -> None:
        name, *args = event
        await self._sio.emit(name, tuple(args))

    async def call(self, *event: Any) -> Any:
        """Emit an event and return the arguments of its ack."""
        name, *args = event
        return await self._sio.call(name, tuple(args), timeout=PATIENCE)

    async def close(self) -> None:
        if self._sio.connected:
            # While a POST is in progress, shutdown() drops the CLOSE packet, and the server keeps the session.
            async with asyncio.timeout(PATIENCE):
                await self._sio.eio.queue.join()
        await self._sio.shutdown()
        await self._sio.eio.disconnect()  # which a refusal has left open
        for answer in self._answers:
            answer.close()
        await self._http.close()


def _words(error: Any) -> str:
    return str(error["message"] if isinstance(error, dict) else error)


#: Connects a user. The fixture `connect_by` disconnects the user after the test.
Connect = Callable[..., Awaitable[Client]]


async def join(client: Client, *others: Client, project: str = PROJECT) -> None:
    """Join a project, and consume everyone's events about it. `others` are in the project already."""
    await client.emit("join-project", project)
    await client.expect("users:active")
    await client.expect("users:count")
    for other in others:
        await other.expect("user:joined")
        await other.expect("users:count")


async def join_both(connect: Connect, **details: Any) -> tuple[Client, Client]:
    """Alice and Bob have joined the project. `details` are those of their connections."""
    alice, bob = await connect(ALICE, **details), await connect(BOB, **details)
    await join(alice)
    await join(bob, alice)
    return alice, bob


async def join_one_and_two(connect: Connect) -> tuple[Client, Client, Client]:
    """Alice in the projects `one` and `two`, with Bob in the one and Carol in the other."""
    alice, bob, carol = await connect(ALICE), await connect(BOB), await connect(CAROL)
    await join(alice, project="one")
    await join(alice, project="two")
    await join(bob, alice, project="one")
    await join(carol, alice, project="two")
    return alice, bob, carol


async def exchange_large_message(alice: Client, bob: Client) -> None:
    """Send a message from Alice to Bob that looks like a handshake and has WS_MAX_PAYLOAD bytes."""
    await join(alice)
    await join(bob, alice)
    task = ['0{"sid":"', "x" * 990_000]
    await alice.emit("task:create", {"projectId": PROJECT, "task": task})
    assert await bob.next() == ["task:create", task]
    await alice.close()
    await bob.close()
