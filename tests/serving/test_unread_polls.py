"""Sessions that end or leave while the answer to their last poll is unread, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from tests.serving.http_app import HEALTH, SOON, app, check_health, counted
from tests.support.clients import Polling
from tests.support.servers import Address, running, until
from tests.support.wire import Connection, raw, raw_websocket, request

from synkora import SocketServer
from synkora.engine.close_reasons import Reason
from synkora.engine.message import Message
from synkora.engine.session import Session
from synkora.serving.http_limits import READ_LEAST
from synkora.serving.server import Server
from synkora.serving.uvicorn_polling import PollingProtocol

LARGE = 3_000_000  # bytes


class Unread(NamedTuple):
    """A client in a namespace that has not read the large answer to its last poll, and its connection."""

    address: Address
    polling: Polling
    session: Session
    connection: Connection
    protocol: PollingProtocol


@asynccontextmanager
async def unread(server: SocketServer) -> AsyncIterator[Unread]:
    server.of("/")
    serving_it = Server(server, app=app, shutdown_timeout=0.05)
    async with (
        running(serving_it, server.settings.path) as address,
        Polling(address) as polling,
        raw(address, slow=True) as connection,
    ):
        await polling.connect()
        await connection.send(HEALTH)
        assert await connection.status() == 200
        (protocol,) = (
            each
            for each in serving_it.server_state.connections
            if each.transport.get_extra_info("peername") == connection.writer.get_extra_info("sockname")
        )
        assert isinstance(protocol, PollingProtocol)
        session = server._registry.find(polling.sid)
        await connection.send(request("GET", address.url(sid=polling.sid).removeprefix(address.http)))
        await until(lambda: session.transport.writable)
        session.outbox.put(Message(b"x" * LARGE))
        await until(lambda: protocol.transport.get_write_buffer_size() > READ_LEAST)
        yield Unread(address, polling, session, connection, protocol)


class TestCutOff:
    """The answer counts for nobody any more: the connection ends soon."""

    @pytest.fixture(autouse=True)
    def hasty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("synkora.serving.http_limits.CLOSING_TIME", SOON)
        monkeypatch.setattr("synkora.serving.http_limits.READ_TIME", 600)
        monkeypatch.setattr("synkora.sockets.client_host.CLOSING_TIME", SOON)

    @pytest.mark.parametrize("last", ["1", "41"], ids=["close packet", "leaves the namespace"])
    async def test_at_the_clients_end(self, server: SocketServer, last: str) -> None:
        async with unread(server) as client:
            await client.polling.post(last)
            await until(client.protocol.transport.is_closing)
            assert len(await client.connection.ended()) < LARGE
            assert len(server._registry) == 0
        assert [kind for kind, _, _ in counted(server)] == ["slow client cut off"]

    @pytest.mark.parametrize("reason", [Reason.PING_TIMEOUT, Reason.FORCED_SERVER_CLOSE])
    async def test_at_the_servers_end(self, server: SocketServer, reason: Reason) -> None:
        async with unread(server) as client:
            client.session.close(reason)
            await until(client.protocol.transport.is_closing)
            assert len(await client.connection.ended()) < LARGE

    async def test_at_an_upgrade(self, server: SocketServer) -> None:
        """A client upgrades after it has read the answer to its last poll."""
        async with unread(server) as client, raw_websocket(client.address, client.polling.sid) as websocket:
            await websocket.send_text(b"2probe")
            assert await websocket.text() == "3probe"
            await websocket.send_text(b"5")
            await until(client.protocol.transport.is_closing)
            assert len(await client.connection.ended()) < LARGE
            assert client.session.is_live


async def test_a_client_that_reads_in_time_gets_the_last_answer_and_goes_on(server: SocketServer) -> None:
    """Another session may use the connection: behind a proxy, that of another client."""
    async with unread(server) as client:
        await client.polling.post("1")
        (waiting,) = client.protocol._timeouts.last_answers._due
        assert waiting is client.protocol
        head = await client.connection.head()
        assert "200" in head
        await client.connection.reader.readexactly(LARGE + 1)
        await check_health(client.connection)
        assert not client.protocol._timeouts.last_answers
        client.protocol.last_answer_timed_out()
        await check_health(client.connection)
    assert not len(server.incidents)


async def test_the_end_of_a_session_leaves_the_answer_to_another_client_alone(server: SocketServer) -> None:
    """A proxy sends the polls of both over one connection."""
    async with unread(server) as client, Polling(client.address) as other:
        await client.connection.head()
        await client.connection.reader.readexactly(LARGE + 1)
        await other.connect()
        await client.connection.send(
            request("GET", client.address.url(sid=other.sid).removeprefix(client.address.http))
        )
        session = server._registry.find(other.sid)
        await until(lambda: session.transport.writable)
        session.outbox.put(Message(b"x" * LARGE))
        await until(lambda: client.protocol.transport.get_write_buffer_size() > READ_LEAST)
        assert session.transport.has_unread
        assert not client.session.transport.has_unread
        client.session.close(Reason.PING_TIMEOUT)
        assert not client.protocol._timeouts.last_answers
        session.close(Reason.PING_TIMEOUT)
        assert list(client.protocol._timeouts.last_answers._due) == [client.protocol]


async def test_a_session_that_the_server_ends_waits_for_a_slow_reader(server: SocketServer) -> None:
    """While the client makes progress. It gets the close packet by its next poll."""
    async with unread(server) as client:
        client.session.close(Reason.FORCED_SERVER_CLOSE)
        protocol = client.protocol
        assert protocol in protocol._timeouts.last_answers
        left = LARGE + 1
        await client.connection.head()
        while protocol.transport.get_write_buffer_size() > READ_LEAST:
            before = protocol.transport.get_write_buffer_size()
            while protocol.transport.get_write_buffer_size() > before - READ_LEAST:
                left -= len(await client.connection.reader.read(READ_LEAST))
            protocol._timeouts.last_answers.drop(protocol)
            protocol.last_answer_timed_out()
            assert not protocol.transport.is_closing()
        await client.connection.reader.readexactly(left)
        await client.connection.send(
            request("GET", client.address.url(sid=client.polling.sid).removeprefix(client.address.http))
        )
        assert "200" in await client.connection.head()
        assert await client.connection.reader.readexactly(1) == b"1"


async def test_a_client_that_leaves_and_comes_back_may_read_slowly(server: SocketServer) -> None:
    async with unread(server) as client:
        await client.polling.post("41", "40")
        assert not server._host.leaving
        assert client.protocol not in client.protocol._timeouts.last_answers
        await client.connection.head()
        await client.connection.reader.readexactly(LARGE + 1)
        await client.connection.send(
            request("GET", client.address.url(sid=client.polling.sid).removeprefix(client.address.http))
        )
        assert "200" in await client.connection.head()
        assert (await client.connection.reader.readexactly(3)).startswith(b"40{")
