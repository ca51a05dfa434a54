"""Requests for sessions of instances on other machines."""

import asyncio
import hashlib
import json
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from tests.serving.instances import UNKNOWN, Instance, Site, ask, handshake, probed
from tests.support.certificates import make_certificate
from tests.support.processes import PATIENCE
from tests.support.servers import crowded, until
from tests.support.wire import PATH, TEXT, client_frame, raw

from synkora.engine.message import Message
from synkora.engine.turn_budget import TurnBudget
from synkora.serving import owner_connections
from synkora.serving.forwarding import Forwarder
from synkora.serving.owner_connections import MAX_BUFFER, OwnerConnection, OwnerConnections, OwnerLost, dial
from synkora.serving.owners import Owner
from synkora.serving.tls import tls_context
from synkora.sockets.internals import registry_of

READ = 65_536  # bytes of one read


async def test_a_request_goes_to_the_owner(site: Site) -> None:
    receiving, owning, sid = await site.two()
    assert (await ask(receiving, sid)).text == "ok"
    assert receiving.total == {"polling": 1}
    assert owning.total == {}
    await until(lambda: receiving.pending == 0)


async def test_requests_for_sessions_elsewhere_do_not_wait_behind_strangers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiving, _, sid = await site.two()
    strangers, run = registry_of(receiving.sockets).strangers, TurnBudget.run
    waiting: list[Any] = []

    def wait(self: TurnBudget, work: Any, afterwards: float = 0.0, source: str = "") -> bool:
        if self is not strangers:
            return run(self, work, afterwards, source)
        waiting.append(work)
        return False

    monkeypatch.setattr(TurnBudget, "run", wait)
    assert (await ask(receiving, sid)).text == "ok"
    assert waiting == []
    unknown = asyncio.create_task(ask(receiving, "x.nobody.x"))
    await until(lambda: len(waiting) == 1)
    waiting.pop()()
    await until(lambda: len(waiting) == 1)
    waiting.pop()()
    assert (await unknown).json() == UNKNOWN
    await until(lambda: receiving.pending == 0)


async def test_a_body_that_becomes_invalid_is_no_failure_of_the_server(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets 400, and no error is logged: strangers could fill the log with them."""
    receiving, _, sid = await site.two()
    assert (await ask(receiving, sid)).text == "ok"  # the connection to the owner is kept
    head = f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n"
    async with raw(receiving.address) as client:
        await client.send(head.encode() + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        assert await client.status() == 400
        await client.ended()
    await until(lambda: receiving.pending == 0)
    await until(lambda: not receiving.connections)
    assert [entry for entry in caplog.records if entry.levelname == "ERROR"] == []


async def test_what_is_forwarded_is_counted(site: Site) -> None:
    """By its way, with its bytes in both directions, and what fails."""
    receiving, owning, sid = await site.two()
    assert receiving.server.forwarder is not None
    counts = receiving.server.forwarder.counts
    await ask(receiving, sid)
    assert (counts.total, counts.lost, counts.bytes) == ({"polling": 1}, {}, len("6") + len("ok"))
    async with probed(receiving, sid):
        assert (counts.now, counts.websockets) == (1, 1)
        assert counts.bytes > 100
    await until(lambda: (counts.now, counts.websockets) == (0, 0))
    receiving.owners.known["bbb"] = owning.owner._replace(url="http://127.0.0.1:9", key=b"x" * 32)
    receiving.server.forwarder._connections.close()
    await until(lambda: not owning.connections)
    await ask(receiving, sid)
    receiving.owners.known["bbb"] = owning.owner._replace(key=b"x" * 32)
    await ask(receiving, sid)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await probed(receiving, sid).__aenter__()
    assert counts.total == {"polling": 3, "websocket": 2}
    assert counts.lost == {"polling": 2, "websocket": 1}


async def test_a_refused_request_leaves_nothing_to_the_next(site: Site) -> None:
    """Another client's request over the same connections gets its own response, and nothing of the refusal."""
    receiving, owning, sid = await site.two()
    receiving.owners.known["bbb"] = owning.owner._replace(key=b"x" * 32)
    assert (await ask(receiving, sid)).json() == UNKNOWN
    receiving.owners.known["bbb"] = owning.owner
    assert (await ask(receiving, sid)).text == "ok"


@pytest.mark.parametrize("is_read", [True, False])
async def test_a_connection_is_kept_if_its_response_has_been_read(is_read: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.read()
        writer.close()

    connection, connections = OwnerConnection(), OwnerConnections(idle=PATIENCE)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        await dial(Owner("bbb", f"http://{host}:{port}", b""), connection)
        try:
            connection.begin(b"GET / HTTP/1.1\r\n\r\n")
            await connection.head
            await until(lambda: connection._is_complete)
            if is_read:
                assert [part async for part, _ in connection.body()] == [b"ok"]
            connections.give_back("bbb", connection)
            assert connections.take("bbb") is (connection if is_read else None)
        finally:
            connection.abort()


def connecting_late(forwarder: Forwarder, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Let each connection to an owner, which sets the first event, wait for the second one."""
    connect, begun, may_go_on = forwarder.connect, asyncio.Event(), asyncio.Event()

    async def connect_late(owner: Owner, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        begun.set()
        await may_go_on.wait()
        return await connect(owner, protocol)

    monkeypatch.setattr(forwarder, "connect", connect_late)
    return begun, may_go_on


async def test_a_client_that_leaves_before_the_owner_is_connected(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner gets no request that nobody waits for."""
    receiving, owning, sid = await site.two()
    await until(lambda: not owning.connections)
    forwarder = receiving.server.forwarder
    assert forwarder is not None
    begun, may_go_on = connecting_late(forwarder, monkeypatch)
    for start in ("GET", "POST"):
        _, writer = await asyncio.open_connection("127.0.0.1", receiving.address.port)
        target = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        writer.write(f"{start} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {int(start == 'POST')}\r\n\r\n".encode())
        await begun.wait()
        writer.close()
        await until(lambda: not receiving.connections)
        may_go_on.set()
        await until(lambda: not receiving.server.server_state.tasks)
        begun.clear()
        may_go_on.clear()
    assert (receiving.pending, forwarder.counts.lost) == (0, {})
    await until(lambda: not owning.connections)
    assert not next(iter(registry_of(owning.sockets))).transport.writable


async def test_requests_share_a_connection(site: Site) -> None:
    """A connection to the owner carries one request after another."""
    receiving, owning, sid = await site.two()
    for _ in range(5):
        assert (await ask(receiving, sid)).text == "ok"
    assert len(owning.server.server_state.connections) == 1


async def test_bodies_without_a_length(site: Site) -> None:
    receiving, _, sid = await site.two()

    async def body() -> Any:
        for part in (b"6", b"\x1e6"):
            yield part

    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.post(receiving.address.url(sid=sid), content=body())).text == "ok"
        too_large = await http.post(receiving.address.url(sid=sid), content=b"4" * 1_000_001)
    assert too_large.status_code == 413


PART = b"1000\r\n" + b"6" * 4096 + b"\r\n"  # of a body


def unfinished(sid: str, framing: str = "Transfer-Encoding: chunked") -> bytes:
    """A post whose body has begun."""
    return f"POST {PATH}polling&sid={sid} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode() + PART


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Content-Length: 1000000000000"])
@pytest.mark.parametrize("is_first", [True, False])
async def test_a_body_is_sent_until_the_owner_answers(site: Site, framing: str, is_first: bool) -> None:
    """A refused post leaves its place in the limit. Its connection to the owner carries no other request."""
    receiving, owning, sid = await site.two(most=1)
    if not is_first:
        assert (await ask(receiving, sid)).text == "ok"  # the connection to the owner is kept
    async with raw(receiving.address) as client:
        await client.send(unfinished("bbb.unknown", framing))
        response = await client.response()
        assert (response.status, json.loads(response.body)) == (400, UNKNOWN)
        await until(lambda: receiving.pending == 0)
        await until(lambda: not owning.connections)
        await client.send(PART)
        assert (await ask(receiving, sid)).text == "ok"


async def test_a_body_without_an_end_is_too_large(site: Site) -> None:
    receiving, owning, sid = await site.two()
    async with raw(receiving.address) as client:
        await client.send(unfinished(sid))
        sending = asyncio.create_task(client.send(*[PART] * 300))
        assert await client.status() == 413
        await sending
        await until(lambda: receiving.pending == 0)
    assert len(registry_of(owning.sockets)) == 0


async def test_a_body_that_goes_on_after_the_response_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """However actively the client sends."""
    monkeypatch.setattr("synkora.serving.http_limits.BODY_TIME", 0.3)
    receiving, _, _ = await site.two()
    async with raw(receiving.address) as client, asyncio.timeout(PATIENCE):
        await client.send(unfinished("bbb.unknown"))
        with suppress(ConnectionError):
            while True:
                await client.send(PART)
                await asyncio.sleep(0.02)
    await until(lambda: not receiving.connections)


async def test_an_owner_that_is_lost_within_a_body(site: Site) -> None:
    """The client is answered at once, and not after its body."""
    receiving = await site.start(Instance("aaa"))

    async def leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(leave, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        receiving.owners.known["bbb"] = Owner("bbb", f"http://127.0.0.1:{port}", b"b" * 32)
        async with raw(receiving.address) as client:
            await client.send(unfinished("bbb.x"))
            response = await client.response()
            assert (response.status, json.loads(response.body)) == (400, UNKNOWN)
            await until(lambda: receiving.pending == 0)


async def test_a_websocket_goes_to_the_owner(site: Site) -> None:
    """Also with data right behind the handshake."""
    receiving, _, sid = await site.two()
    async with probed(receiving, sid):
        assert (receiving.pending, receiving.total) == (1, {"websocket": 1})
    await until(lambda: receiving.pending == 0)


async def test_forwarded_requests_are_limited(site: Site) -> None:
    receiving, owning, sid = await site.two(most=1)
    other = await owning.open()
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        poll = asyncio.create_task(http.get(receiving.address.url(sid=sid)))
        await until(lambda: receiving.pending == 1)
        assert (await ask(receiving, other)).status_code == 503
        assert (await ask(owning, sid)).text == "ok"
        poll.cancel()
        await asyncio.wait((poll,))
    await until(lambda: receiving.pending == 0)
    assert (await ask(receiving, other)).text == "ok"


async def test_requests_that_wait_for_a_connection_are_limited_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner may take three seconds to be connected."""
    receiving, _, sid = await site.two(most=1)
    forwarder = receiving.server.forwarder
    assert forwarder is not None
    begun, may_go_on = connecting_late(forwarder, monkeypatch)
    first = asyncio.create_task(ask(receiving, sid))
    await begun.wait()
    assert (await ask(receiving, sid)).status_code == 503
    may_go_on.set()
    assert (await first).text == "ok"


async def test_the_end_of_an_owner_ends_what_is_forwarded_to_it(site: Site) -> None:
    """Also if its connections stay open, as those of a machine without power."""
    receiving, owning, sid = await site.two()
    async with probed(receiving, sid) as client, httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as poller:
        poll = asyncio.create_task(poller.get(receiving.address.url(sid=await owning.open())))
        await until(lambda: receiving.pending == 2)
        receiving.owners.remove("bbb")
        assert (await client.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert (await poll).json() == UNKNOWN
    await until(lambda: receiving.pending == 0)


async def test_a_websocket_without_its_owner_is_refused_in_its_turn(site: Site) -> None:
    """With data right behind the handshake, while other handshakes wait."""
    receiving = await site.start(Instance("aaa"))
    receiving.owners.known["bbb"] = Owner("bbb", "http://127.0.0.1:9", b"b" * 32)
    with crowded(registry_of(receiving.sockets).arrivals):
        async with raw(receiving.address) as client:
            await client.send(handshake(receiving.address, "bbb.x"), client_frame(TEXT, b"2probe") * 1000)
            answer = await client.response()
            assert (answer.status, json.loads(answer.body)) == (400, UNKNOWN)
    await until(lambda: receiving.pending == 0)


@pytest.mark.parametrize("url", ["http://10.0.0.1:70000", "http://a..b:80", "http://[::1:80"])
async def test_an_owner_whose_address_cannot_be_one(site: Site, url: str) -> None:
    """Its sessions are unknown, and requests for them keep no place of the limit."""
    receiving = await site.start(Instance("aaa"), most=1)
    receiving.owners.known["bbb"] = owner = Owner("bbb", url, b"b" * 32)
    with pytest.raises(OwnerLost):
        await dial(owner, asyncio.Protocol())
    assert (await ask(receiving, "bbb.x")).json() == UNKNOWN
    async with raw(receiving.address) as client:
        await client.send(handshake(receiving.address, "bbb.x"))
        answer = await client.response()
        assert (answer.status, json.loads(answer.body)) == (400, UNKNOWN)
    await until(lambda: receiving.pending == 0)


async def test_an_owner_that_accepts_no_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sessions are unknown after a short while."""
    monkeypatch.setattr(owner_connections, "CONNECT_TIME", 0.1)
    receiving = await site.start(Instance("aaa"))
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        address = silent.getsockname()
        fill = [socket.socket() for _ in range(4)]
        for each in fill:
            each.setblocking(False)
            each.connect_ex(address)
        receiving.owners.known["bbb"] = Owner("bbb", f"http://127.0.0.1:{address[1]}", b"b" * 32)
        assert (await ask(receiving, "bbb.x")).json() == UNKNOWN
        for each in fill:
            each.close()


async def test_a_slow_client_is_slow_for_the_owner(site: Site) -> None:
    """Between them a bounded number of bytes waits. When the client reads, it gets everything."""
    receiving, owning, sid = await site.two()
    session = next(iter(registry_of(owning.sockets)))
    session.outbox.count_for(None)  # as of a client that has signed in
    message = Message(b"x" * 50_000)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", receiving.address.port))
        await loop.sock_sendall(client, handshake(receiving.address, sid) + client_frame(TEXT, b"2probe"))
        received = b""
        while not received.endswith(b"3probe"):
            received += await loop.sock_recv(client, 4096)
        await loop.sock_sendall(client, client_frame(TEXT, b"5"))
        await until(lambda: session.transport.name == "websocket")
        before = -1
        for _ in range(60):
            session.outbox.put(message)
            await asyncio.sleep(0.005)  # a turn's messages are written at once
        while session.outbox.waiting_bytes != before:
            before = session.outbox.waiting_bytes
            await asyncio.sleep(0.3)
        (forwarded,) = receiving.forwarded
        assert forwarded._client.get_write_buffer_size() <= MAX_BUFFER + READ
        assert 60 * 50_000 - session.outbox.waiting_bytes < 1_000_000
        size = 0
        while size < 60 * 50_000:
            size += len(await loop.sock_recv(client, 65_536))
    await until(lambda: receiving.pending == 0)


async def test_a_slow_owner_is_slow_for_the_client(site: Site) -> None:
    """An owner that stops reading stops the client, after a bounded number of bytes."""
    receiving = await site.start(Instance("aaa"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        receiving.owners.known["bbb"] = Owner("bbb", f"http://127.0.0.1:{silent.getsockname()[1]}", b"b" * 32)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", receiving.address.port))
            await loop.sock_sendall(client, handshake(receiving.address, "bbb.x"))
            await until(lambda: any(each._other for each in receiving.forwarded))
            (forwarded,) = receiving.forwarded
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await loop.sock_sendall(client, b"x" * 100_000_000)
            assert forwarded._other is not None
            assert forwarded._other.transport.get_write_buffer_size() <= MAX_BUFFER + READ
    await until(lambda: receiving.pending == 0)


async def test_an_owner_with_tls(site: Site, tmp_path: Path) -> None:
    """It is known by the certificate that it has announced, whatever the name in it, and not by another one."""
    certfile, keyfile = make_certificate(tmp_path, "server")
    receiving = await site.start(Instance("aaa"))
    owning = await site.start(Instance("bbb"), tls=tls_context(certfile, keyfile))
    certificate = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certfile.read_text())).hexdigest()
    owner = owning.owner._replace(url=owning.address.http.replace("http:", "https:"), certificate=certificate)
    sid = await owning.open()
    receiving.owners.known["bbb"] = owner
    assert (await ask(receiving, sid)).text == "ok"
    async with probed(receiving, sid):
        pass
    for wrong in ("0" * 64, ""):
        receiving.owners.remove("bbb")
        receiving.owners.known["bbb"] = owner._replace(certificate=wrong)
        assert (await ask(receiving, sid)).json() == UNKNOWN


async def test_connections_over_tls_share_the_systems_certificates(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading them takes 25 ms, and anyone may cause a connection to an owner."""
    receiving, owning, sid = await site.two()
    loaded: list[ssl.SSLContext] = []
    load = ssl.SSLContext.load_default_certs

    def count(context: ssl.SSLContext, *given: ssl.Purpose) -> None:
        loaded.append(context)
        load(context, *given)

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", count)
    for certificate in ("", "0" * 64):
        receiving.owners.known["bbb"] = owning.owner._replace(
            url=owning.address.http.replace("http:", "https:"), certificate=certificate
        )
        for _ in range(3):
            assert (await ask(receiving, sid)).json() == UNKNOWN
    assert len(loaded) <= 2  # one may be httpx's
