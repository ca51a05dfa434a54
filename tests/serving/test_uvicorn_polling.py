"""Polls answered by a plain call: HTTP. The transport's tests have the rest of polling."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf
from typing import Any

import pytest
from tests.sockets.conftest import address, server
from tests.support.clients import Polling
from tests.support.processes import PATIENCE
from tests.support.servers import QUEUED, Address, most_in_one_turn, queued, running, serving, until
from tests.support.sessions import turn
from tests.support.wire import Connection, raw

from synkora import SocketServer
from synkora.engine import turn_budget, unfinished
from synkora.engine.close_reasons import Reason
from synkora.engine.message import Message
from synkora.engine.registry import Registry
from synkora.engine.transports.polling_endpoint import PollingEndpoint
from synkora.engine.transports.polling_transport import PollingTransport
from synkora.engine.turn_budget import RequestBudget
from synkora.serving.http_limits import HttpProtocol
from synkora.serving.http_pipelining import MAX_WAITING
from synkora.serving.server import Server
from synkora.serving.uvicorn_polling import PollingProtocol
from synkora.sockets.internals import registry_of

__all__ = ["address", "server"]

HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE = 30_000_000  # bytes: more than sockets hold


def get(address: Address, sid: str | None = None, head: str = "Host: a\r\n", version: str = "1.1") -> bytes:
    target = address.url(sid=sid).removeprefix(address.http)
    return f"GET {target} HTTP/{version}\r\n{head}\r\n".encode()


async def answer(client: Connection) -> tuple[bytes, bytes]:
    async with asyncio.timeout(PATIENCE):
        head = await client.reader.readuntil(b"\r\n\r\n")
        size = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return head, await client.reader.readexactly(int(size))


async def test_a_connection_that_breaks_ends_the_session_whose_poll_hangs_on_it(
    server: SocketServer, address: Address
) -> None:
    """Immediately, and nothing of it remains."""
    async with Polling(address) as polling, raw(address) as client:
        await client.send(get(address, polling.sid))
        await until(lambda: server._registry.find(polling.sid).transport.writable)
        client.writer.transport.abort()
        await until(lambda: not len(server._registry))


async def test_sessions_that_are_opened_at_once_share_the_turns(server: SocketServer, address: Address) -> None:
    server._registry.arrivals.share = 1e-9
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw(address)) for _ in range(20)]
        for client in clients:
            client.writer.write(get(address))
        assert await most_in_one_turn(lambda: len(server._registry), len(clients)) <= 2
        for client in clients:
            assert (await answer(client))[1].startswith(b"0")


@pytest.mark.parametrize("sid", [None, "unknown"])
async def test_requests_without_a_session_share_the_turns(sid: str | None) -> None:
    """From any number of connections: floods of them delay nobody else. A client that has signed in does not wait."""
    handled: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        handled.append(scope["path"])
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    server = SocketServer()
    server.of("/")
    running_server = Server(server, app=app, shutdown_timeout=0.05)
    strangers = registry_of(server).strangers
    strangers.share = 1e-9
    async with running(running_server, "/socket.io/") as address, AsyncExitStack() as stack:
        polling = await stack.enter_async_context(Polling(address))
        await polling.connect()
        clients = [await stack.enter_async_context(raw(address)) for _ in range(20)]
        answers = [asyncio.create_task(client.head()) for client in clients]
        request = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" if sid is None else get(address, sid)
        for client in clients:
            client.writer.write(request)
        assert await most_in_one_turn(lambda: sum(task.done() for task in answers), len(answers)) <= 2
        assert {answer.split()[1] for answer in await asyncio.gather(*answers)} == {"404" if sid is None else "400"}
        assert len(handled) == (20 if sid is None else 0)
        strangers.share = -1
        assert (await polling.post("6")).status_code == 200


@pytest.mark.parametrize("sid", ["unknown", "a.b"])
async def test_polls_of_unknown_sessions_share_the_turns(
    server: SocketServer, address: Address, monkeypatch: pytest.MonkeyPatch, sid: str
) -> None:
    """To refuse them may take longer than to read them."""
    refused: list[None] = []
    get_poll = PollingEndpoint.get

    def refuse(self: PollingEndpoint, *args: Any) -> Any:
        refused.append(None)
        return get_poll(self, *args)

    monkeypatch.setattr(PollingEndpoint, "get", refuse)
    strangers = registry_of(server).strangers
    strangers.share, strangers._clock = 1, lambda: float(len(refused))  # to read takes no time
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw(address)) for _ in range(20)]
        for client in clients:
            client.writer.write(get(address, sid))
        assert await most_in_one_turn(lambda: len(refused), len(clients)) <= 2
        for client in clients:
            assert (await answer(client))[0].startswith(b"HTTP/1.1 400")


async def test_a_refusal_does_not_wait_behind_those_of_other_addresses(server: SocketServer, address: Address) -> None:
    strangers = registry_of(server).strangers
    async with raw(address) as client:
        with queued(strangers) as turns:
            client.writer.write(get(address, "unknown"))
            assert (await answer(client))[0].startswith(b"HTTP/1.1 400")
            assert turns() < QUEUED


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "GET"])
@pytest.mark.parametrize("pipelined", [1, 4])
async def test_requests_of_one_session_share_the_turns(
    server: SocketServer, address: Address, monkeypatch: pytest.MonkeyPatch, method: str, pipelined: int
) -> None:
    """Over any number of connections. The first small ones are free; none of these ends the session."""
    handled: list[None] = []
    begin = HttpProtocol.begin

    def note(self: HttpProtocol, *args: Any) -> None:
        handled.append(None)
        begin(self, *args)

    get_poll = PollingEndpoint.get

    def note_poll(self: PollingEndpoint, *args: Any) -> Any:
        handled.append(None)
        return get_poll(self, *args)

    monkeypatch.setattr(HttpProtocol, "begin", note)
    monkeypatch.setattr(PollingEndpoint, "get", note_poll)
    async with AsyncExitStack() as stack:
        polling = await stack.enter_async_context(Polling(address))
        await polling.connect()
        budget = server._registry.find(polling.sid).request_budget
        assert isinstance(budget, RequestBudget)
        budget.share, budget._due = 1e-9, inf
        clients = [await stack.enter_async_context(raw(address)) for _ in range(20)]
        target = address.url("websocket", polling.sid).partition(str(address.port))[2]
        request = f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * pipelined
        handled.clear()
        for client in clients:
            client.writer.write(request)
        assert await most_in_one_turn(lambda: len(handled), len(clients) * pipelined) <= 2
        assert len(server._registry) == 1


def urls_read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that gets the URL of each request that is read."""
    read: list[bytes] = []
    on_url = PollingProtocol.on_url

    def note(self: PollingProtocol, url: bytes) -> None:
        read.append(url)
        on_url(self, url)

    monkeypatch.setattr(PollingProtocol, "on_url", note)
    return read


async def test_small_requests_that_are_slow_to_read_share_the_turns(
    server: SocketServer, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of the first one is not time in which more become free."""
    read = urls_read(monkeypatch)
    monkeypatch.setattr(turn_budget, "monotonic", lambda: float(len(read)))  # to read each takes a second
    async with AsyncExitStack() as stack:
        polling = await stack.enter_async_context(Polling(address))
        await polling.connect()
        budget = server._registry.find(polling.sid).request_budget
        assert isinstance(budget, RequestBudget)
        clients = [await stack.enter_async_context(raw(address)) for _ in range(20)]
        target = address.url(sid=polling.sid).removeprefix(address.http)
        read.clear()
        budget.share, budget._due = 1e-9, 0.0
        for client in clients:
            client.writer.write(f"OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert await most_in_one_turn(lambda: len(read), len(clients)) <= 2


async def test_the_rest_of_a_body_of_a_session_that_has_ended_is_a_strangers(
    server: SocketServer, address: Address
) -> None:
    """As many sessions as have ended would have as many shares of a turn."""
    strangers = registry_of(server).strangers
    async with Polling(address) as polling, raw(address) as client:
        await polling.connect()
        session = server._registry.find(polling.sid)
        await client.send(get(address, polling.sid, "Host: a\r\nContent-Length: 9\r\n").replace(b"GET", b"POST") + b"6")
        transport = session.transport
        assert isinstance(transport, PollingTransport)
        await until(lambda: transport.progressed_at is not None)
        assert not strangers._waiting
        session.transport_closed(transport, Reason.TRANSPORT_ERROR)
        strangers.share = 0
        await client.send(b"6")
        await until(lambda: strangers._waiting)
        go_on(server)
        assert (await answer(client))[0].startswith(b"HTTP/1.1 400")


async def test_unfinished_heads_of_one_address_are_bounded(
    server: SocketServer, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In what they take of memory. Small ones are read, and so are those of other addresses."""
    monkeypatch.setattr(unfinished, "MOST_UNFINISHED", 50_000)
    held = registry_of(server).unfinished("127.0.0.1")
    head = b"GET /health HTTP/1.1\r\n" + b"a:\r\n" * 255  # some 40 kB, of which 20 are free
    async with raw(address) as one, raw(address) as two, raw(address) as refused, raw(address) as small:
        await one.send(head)
        await until(lambda: 15_000 < held.total < 25_000)
        await two.send(head)
        await until(lambda: held.total > 30_000)
        await refused.send(head)
        assert await refused.status() == 431
        await small.send(HEALTH[:30])
        await small.send(HEALTH[30:])
        assert await small.status() == 404
        await two.send(b"\r\n")
        assert await two.status() == 404
        await until(lambda: held.total < 25_000)
        one.writer.transport.abort()
        await until(lambda: not held.total)


@pytest.mark.parametrize("body", [b"", b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_an_unfinished_head_behind_a_request_in_one_read_counts(
    server: SocketServer, address: Address, body: bytes
) -> None:
    held = registry_of(server).unfinished("127.0.0.1")
    head = b"GET /health HTTP/1.1\r\n" + b"a:\r\n" * 255
    first = b"POST /health HTTP/1.1\r\n" + body + b"\r\n" + {b"C": b"body", b"T": b"0\r\n\r\n", b"": b""}[body[:1]]
    async with raw(address) as client:
        await client.send(first + head)
        await until(lambda: 15_000 < held.total < 25_000)
        await client.send(b"\r\n")
        await until(lambda: not held.total)


async def test_of_a_free_read_only_the_first_request_is_free(
    server: SocketServer, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: Counter[HttpProtocol] = Counter()
    begin = HttpProtocol.begin

    def note(self: HttpProtocol, *args: Any) -> None:
        begun[self] += 1
        begin(self, *args)

    def behind() -> int:
        return sum(number - 1 for number in begun.values())

    monkeypatch.setattr(HttpProtocol, "begin", note)
    monkeypatch.setattr(RequestBudget, "read_free", lambda self, read, data: (read(data), True)[1])
    async with AsyncExitStack() as stack:
        polling = await stack.enter_async_context(Polling(address))
        await polling.connect()
        server._registry.find(polling.sid).request_budget.share = 1e-9
        clients = [await stack.enter_async_context(raw(address)) for _ in range(20)]
        target = address.url(sid=polling.sid).removeprefix(address.http)
        begun.clear()
        for client in clients:
            client.writer.write(f"OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 4)
        assert await most_in_one_turn(behind, 3 * len(clients)) <= 2


@asynccontextmanager
async def put_off(server: SocketServer) -> AsyncIterator[tuple[Server, PollingProtocol, Connection]]:
    """A connection whose first request has been answered, and whose second one waits for a turn."""
    serving_it = Server(server, shutdown_timeout=0.05)
    async with running(serving_it, "/socket.io/") as address, raw(address) as client:
        await client.send(HEALTH)
        assert await client.status() == 404
        (protocol,) = serving_it.server_state.connections
        assert isinstance(protocol, PollingProtocol)
        registry_of(server).strangers.share = 0
        await client.send(HEALTH)
        await until(lambda: registry_of(server).strangers._waiting)
        yield serving_it, protocol, client


def go_on(server: SocketServer) -> None:
    strangers = registry_of(server).strangers
    strangers.share = inf
    strangers._begin_turn()


async def test_a_connection_with_a_request_that_waits_for_a_turn_is_not_idle(server: SocketServer) -> None:
    async with put_off(server) as (_, protocol, client):
        protocol.timeout_keep_alive_handler()  # the timer of the response before
        go_on(server)
        head = await client.head()
        assert head.startswith("HTTP/1.1 404 ")
        assert "connection: close" not in head


async def test_a_request_that_waits_for_a_turn_is_answered_by_a_server_that_stops(server: SocketServer) -> None:
    """Its connection then ends."""
    async with put_off(server) as (serving_it, _, client):
        serving_it.stop_listening()
        go_on(server)
        head = await client.head()
        assert head.startswith("HTTP/1.1 404 ")
        assert "connection: close" in head


async def test_heads_of_strangers_share_the_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes as long to read a head of many fields as to answer it, also with the id of a session without sign-in."""
    read = urls_read(monkeypatch)
    server = SocketServer()
    registry_of(server).strangers.share = 1e-9
    async with running(Server(server, shutdown_timeout=0.05), "/socket.io/") as address, AsyncExitStack() as stack:
        polling = await stack.enter_async_context(Polling(address))
        read.clear()
        clients = [await stack.enter_async_context(raw(address)) for _ in range(20)]
        for number, client in enumerate(clients):
            client.writer.write(get(address, polling.sid if number % 2 else "unknown"))
        assert await most_in_one_turn(lambda: len(read), len(clients)) <= 2


async def test_a_connection_that_breaks_between_polls_ends_nothing(server: SocketServer, address: Address) -> None:
    async with Polling(address) as polling, raw(address) as client:
        server._registry.find(polling.sid).send(b"one")
        await client.send(get(address, polling.sid))
        assert (await answer(client))[1] == b"4one"
        client.writer.transport.abort()
        server._registry.find(polling.sid).send(b"two")
        assert await polling.poll() == ["4two"]


@pytest.mark.parametrize("head", ["Host: a\r\n", "Host: a\r\nConnection: close\r\n"], ids=["kept", "closed"])
async def test_a_poll_before_the_last_response_is_read_ends_the_session(
    server: SocketServer, address: Address, head: str
) -> None:
    """Each connection would hold another large response. The small kernel buffer lets the test see this."""
    async with Polling(address) as polling, raw(address, slow=True) as deaf, raw(address) as other:
        session = server._registry.find(polling.sid)
        await deaf.send(get(address, polling.sid, head))
        await until(lambda: session.transport.writable)
        for _ in range(2):
            session.outbox.put(Message(b"x" * 1_000_000))
        await until(lambda: not session.transport.writable)
        await asyncio.sleep(0.1)  # until the kernel has taken what it takes
        await other.send(get(address, polling.sid))
        assert (await answer(other))[0].startswith(b"HTTP/1.1 400")
        assert not len(server._registry)


async def test_requests_behind_a_poll_wait_for_its_answer(server: SocketServer, address: Address) -> None:
    """Requests of a connection are answered in order (RFC 9112 section 9.3.2)."""
    async with Polling(address) as polling, raw(address) as client:
        await client.send(get(address, polling.sid) * 2 + b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n")
        for message in (b"4one", b"4two"):
            await until(lambda: server._registry.find(polling.sid).transport.writable)
            server._registry.find(polling.sid).send(message[1:])
            assert (await answer(client))[1] == message
        assert (await answer(client))[0].startswith(b"HTTP/1.1 404")


async def test_requests_behind_a_poll_are_answered_one_by_one(server: SocketServer, address: Address) -> None:
    async with Polling(address) as polling, raw(address) as client:
        await client.send(get(address, polling.sid) + get(address, "unknown") * MAX_WAITING)
        await until(lambda: server._registry.find(polling.sid).transport.writable)
        server._registry.find(polling.sid).send(b"hello")
        assert (await answer(client))[1] == b"4hello"
        for _ in range(MAX_WAITING):
            head, body = await answer(client)
            assert head.startswith(b"HTTP/1.1 400")
            assert b"Session ID unknown" in body


@pytest.mark.parametrize(
    ("head", "version"), [("Connection: close\r\n", "1.1"), ("", "1.0"), ("Connection: keep-alive\r\n", "1.0")]
)
async def test_a_connection_that_is_not_kept_is_closed_after_the_answer(
    address: Address, head: str, version: str
) -> None:
    """The response says so (RFC 9112 section 9.6)."""
    async with raw(address) as client:
        await client.send(get(address, head=head, version=version))
        said, body = await answer(client)
        assert body.startswith(b"0{")
        assert b"connection: close\r\n" in said
        assert await client.ended() == b""


async def test_a_client_that_waits_to_be_asked_for_a_body_is_asked(address: Address) -> None:
    """A GET may expect a 100 before its body (RFC 9110 section 10.1.1)."""
    async with Polling(address) as polling, raw(address) as client:
        head = "Host: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
        await client.send(get(address, polling.sid, head))
        async with asyncio.timeout(PATIENCE):
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_answers_do_not_pile_up_for_a_client_that_does_not_read() -> None:
    """Pipelined requests wait until it reads, so that its messages stay in the outbox, which has a limit."""
    server = SocketServer(max_outbox=2 * LARGE)
    server.of("/")
    messages = [b"4" + letter * LARGE for letter in (b"a", b"b", b"c")]
    async with serving(server) as address, Polling(address) as polling, raw(address, slow=True) as client:
        session = server._registry.find(polling.sid)
        session.outbox.count_for(None)  # as of a client that has signed in
        await client.send(get(address, polling.sid) * 3)
        for message in messages[:2]:
            await until(lambda: session.transport.writable)
            session.send(message[1:])
            await turn()
        session.send(messages[2][1:])
        await turn()
        assert session.outbox.waiting_bytes > LARGE
        for message in messages:
            assert (await answer(client))[1] == message
        assert session.outbox.is_empty


async def test_an_error_of_ours_is_answered(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 500. The connection continues."""

    def fail(self: Registry, sid: str) -> None:
        raise RuntimeError("a fault")

    async with raw(address) as client:
        with monkeypatch.context() as broken:
            broken.setattr(Registry, "find", fail)
            await client.send(get(address, "unknown"))
            assert (await answer(client))[0].startswith(b"HTTP/1.1 500")
        await client.send(get(address, "unknown"))
        assert (await answer(client))[0].startswith(b"HTTP/1.1 400")
