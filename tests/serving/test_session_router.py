"""Requests for sessions of other instances: where they go, and where not."""

import asyncio
import errno
import hashlib
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import pytest
from tests.support.certificates import make_certificate
from tests.support.processes import PATIENCE
from tests.support.servers import Address, running, until
from tests.support.wire import TEXT, client_frame, raw

from synkora import SocketServer
from synkora.engine.incidents import IncidentKind
from synkora.engine.message import Message
from synkora.engine.request import parse_query
from synkora.engine.transports.websocket_heads import Peer
from synkora.serving import owner_connections
from synkora.serving.forward_signature import HEADER, sign
from synkora.serving.forwarded_websocket import ForwardedWebSocket
from synkora.serving.owner_connections import MAX_BUFFER
from synkora.serving.owners import Owner, tag_of
from synkora.serving.server import Server
from synkora.serving.session_router import SharedSessions, tag_in_query
from synkora.serving.tls import tls_context
from synkora.sockets.internals import registry_of

READ = 65_536  # bytes of one read
UNKNOWN = {"code": 1, "message": "Session ID unknown"}


def handshake(address: Address, sid: str) -> bytes:
    return (
        f"GET {address.path}?EIO=4&transport=websocket&sid={sid} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()


class StaticOwners:
    def __init__(self) -> None:
        self.on_gone: list[Callable[[str], None]] = []
        self.known: dict[str, Owner] = {}

    def find(self, tag: str) -> Owner | None:
        return self.known.get(tag)

    def remove(self, tag: str) -> None:
        del self.known[tag]
        for told in self.on_gone:
            told(tag)


class Instance:
    """One of several servers in this process."""

    def __init__(self, tag: str, **options: Any) -> None:
        self.tag = tag
        self.key = tag[0].encode() * 32
        self.sockets = SocketServer(instance=tag, ping_interval=3600, **options)
        self.owners = StaticOwners()
        self.refusals: list[tuple[IncidentKind, str, str]] = []
        self.sockets.incidents.on_first = lambda *refusal: self.refusals.append(refusal)
        self.server: Server
        self.address: Address

    @property
    def owner(self) -> Owner:
        return Owner(self.tag, self.address.http, self.key)

    @property
    def total(self) -> dict[str, int]:
        assert self.server.forwarder is not None
        return dict(self.server.forwarder.counts.total)

    @property
    def connections(self) -> set[Any]:
        return self.server.server_state.connections

    @property
    def forwarded(self) -> list[ForwardedWebSocket]:
        return [each for each in self.connections if isinstance(each, ForwardedWebSocket)]

    @property
    def pending(self) -> int:
        assert self.server.forwarder is not None
        return self.server.forwarder.counts.now

    async def open(self) -> str:
        """Open a session by polling, and return its id."""
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(self.address.url())
        sid: str = re.findall(r'"sid":"([^"]+)"', answer.text)[0]
        assert tag_of(sid) == self.tag
        return sid


class Site:
    def __init__(self, around: AsyncExitStack) -> None:
        self._around = around

    async def start(
        self, instance: Instance, *, workers: Path | None = None, most: int = 0, tls: ssl.SSLContext | None = None
    ) -> Instance:
        shared = SharedSessions(instance.tag, instance.key, instance.owners, workers, most)
        instance.server = Server(instance.sockets, shutdown_timeout=0.05, shared=shared, tls=tls)
        instance.address = await self._around.enter_async_context(running(instance.server, "/socket.io/"))
        return instance

    async def two(self, **options: Any) -> tuple[Instance, Instance]:
        """An instance that knows the other, and the other, which does not know the first."""
        receiving, owning = [await self.start(Instance(tag), **options) for tag in ("aaa", "bbb")]
        receiving.owners.known["bbb"] = owning.owner
        return receiving, owning


@pytest.fixture
async def site() -> Any:
    async with AsyncExitStack() as around:
        yield Site(around)


async def ask(address: Address, sid: str, method: str = "POST", path: str = "", **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        url = f"{address.http}{path}" if path else address.url(sid=sid)
        return await http.request(method, url, content="6" if method == "POST" else None, **options)


async def test_a_request_goes_to_the_owner(site: Site) -> None:
    receiving, owning = await site.two()
    sid = await owning.open()
    assert (await ask(receiving.address, sid)).text == "ok"
    assert receiving.total == {"polling": 1}
    assert owning.total == {}
    await until(lambda: receiving.pending == 0)


async def test_a_body_that_becomes_invalid_is_no_failure_of_the_server(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets 400, and no error is logged: strangers could fill the log with them."""
    receiving, owning = await site.two()
    sid = await owning.open()
    assert (await ask(receiving.address, sid)).text == "ok"  # the connection to the owner is kept
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
    receiving, owning = await site.two()
    assert receiving.server.forwarder is not None
    counts = receiving.server.forwarder.counts
    sid = await owning.open()
    await ask(receiving.address, sid)
    assert (counts.total, counts.lost, counts.bytes) == ({"polling": 1}, {}, len("6") + len("ok"))
    async with aiohttp.ClientSession() as http, http.ws_connect(receiving.address.url("websocket", sid)) as client:
        await client.send_str("2probe")
        assert await client.receive_str() == "3probe"
        assert (counts.now, counts.websockets) == (1, 1)
        assert counts.bytes > 100
    await until(lambda: (counts.now, counts.websockets) == (0, 0))
    receiving.owners.known["bbb"] = owning.owner._replace(url="http://127.0.0.1:9", key=b"x" * 32)
    receiving.server.forwarder._connections.close()
    await until(lambda: not owning.connections)
    await ask(receiving.address, sid)
    receiving.owners.known["bbb"] = owning.owner._replace(key=b"x" * 32)
    await ask(receiving.address, sid)
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(receiving.address.url("websocket", sid))
    assert counts.total == {"polling": 3, "websocket": 2}
    assert counts.lost == {"polling": 2, "websocket": 1}


async def test_a_client_that_leaves_before_the_owner_is_connected(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner gets no request that nobody waits for."""
    receiving, owning = await site.two()
    sid = await owning.open()
    await until(lambda: not owning.connections)
    forwarder = receiving.server.forwarder
    assert forwarder is not None
    connect, begun, may_go_on = forwarder.connect, asyncio.Event(), asyncio.Event()

    async def connect_late(owner: Owner, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        begun.set()
        await may_go_on.wait()
        return await connect(owner, protocol)

    monkeypatch.setattr(forwarder, "connect", connect_late)
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
    receiving, owning = await site.two()
    sid = await owning.open()
    for _ in range(5):
        assert (await ask(receiving.address, sid)).text == "ok"
    assert len(owning.server.server_state.connections) == 1


async def test_bodies_without_a_length(site: Site) -> None:
    receiving, owning = await site.two()
    sid = await owning.open()

    async def body() -> Any:
        for part in (b"6", b"\x1e6"):
            yield part

    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.post(receiving.address.url(sid=sid), content=body())).text == "ok"
        too_large = await http.post(receiving.address.url(sid=sid), content=b"4" * 1_000_001)
    assert too_large.status_code == 413


async def test_a_websocket_goes_to_the_owner(site: Site) -> None:
    """Also with data right behind the handshake."""
    receiving, owning = await site.two()
    sid = await owning.open()
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(receiving.address.url("websocket", sid)) as client:
            await client.send_str("2probe")
            assert await client.receive_str() == "3probe"
            assert (receiving.pending, receiving.total) == (1, {"websocket": 1})
        await until(lambda: receiving.pending == 0)


async def test_a_session_of_no_known_instance_is_unknown(site: Site) -> None:
    receiving, owning = await site.two()
    sid = await owning.open()
    receiving.owners.remove("bbb")
    assert (await ask(receiving.address, sid)).json() == UNKNOWN
    for other in ("ccc.x", "x", ".", "..", "ccc.", "a b.x", "ccc/../bbb.x"):
        assert (await ask(receiving.address, other)).json() == UNKNOWN
    assert receiving.total == {}


async def test_only_socketio_is_forwarded(site: Site) -> None:
    """Whatever the path, the host and the method: an instance is no proxy for others."""
    receiving, owning = await site.two()
    sid = await owning.open()
    for path in ("/health", "/", "/socket.io/../health", "/socket.iox/", "//socket.io/"):
        assert (await ask(receiving.address, sid, "GET", f"{path}?sid={sid}")).status_code == 404
    assert (await ask(receiving.address, sid, "PUT")).status_code != 200
    assert receiving.total == {}
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        host = f"127.0.0.1:{elsewhere.getsockname()[1]}"
        target = f"http://{host}/socket.io/?EIO=4&transport=polling&sid={sid}"
        reader, writer = await asyncio.open_connection("127.0.0.1", receiving.address.port)
        writer.write(f"POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\n\r\n6".encode())
        assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


async def test_a_forwarded_request_is_not_forwarded(site: Site) -> None:
    """Neither one for a session of a third instance, nor one that comes back: there are no loops."""
    receiving, owning = await site.two()
    third = await site.start(Instance("ccc"))
    owning.owners.known["ccc"] = third.owner
    receiving.owners.known["ccc"] = third.owner._replace(url=owning.address.http)  # a wrong WS_ADVERTISE
    sid = await third.open()
    assert (await ask(receiving.address, sid)).json() == UNKNOWN
    assert (owning.total, third.total) == ({}, {})
    receiving.owners.known["ccc"] = third.owner._replace(url=receiving.address.http)
    assert (await ask(receiving.address, sid)).json() == UNKNOWN
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(receiving.address.url("websocket", sid))
    assert refused.value.status == 400
    await until(lambda: receiving.pending == 0)


async def test_a_request_is_accepted_once(site: Site) -> None:
    """With the signature of an instance that knows the key, and not a second time."""
    owning = await site.start(Instance("bbb"))
    sid = await owning.open()
    target = owning.address.url(sid=sid).removeprefix(owning.address.http).encode()
    value = sign(owning.key, b"POST", target, Peer("192.0.2.1", over_tls=False))
    statuses = [(await ask(owning.address, sid, headers={HEADER.decode(): value.decode()})).status_code for _ in "12"]
    assert statuses == [200, 421]
    assert owning.refusals == [(IncidentKind.REQUEST_REFUSED, "forwarded: replayed", "")]


async def test_the_owner_sees_the_client(site: Site) -> None:
    """As if it had been connected: its own address, or what a trusted proxy says, and never what it says itself."""
    for proxies, address in (((), "127.0.0.1"), (("127.0.0.1",), "192.0.2.9")):
        receiving = await site.start(Instance("aaa", proxies=proxies))
        owning = await site.start(Instance("bbb", proxies=proxies))
        receiving.owners.known["bbb"] = owning.owner
        headers = {"X-Forwarded-For": "192.0.2.9"}
        assert (await ask(receiving.address, "bbb.unknown", headers=headers)).json() == UNKNOWN
        assert receiving.refusals == []
        assert owning.refusals[0] == (IncidentKind.REQUEST_REFUSED, "Session ID unknown", address)
        assert {each[2] for each in owning.refusals} == {address}


async def test_forwarded_requests_are_limited(site: Site) -> None:
    receiving, owning = await site.two(most=1)
    sids = [await owning.open() for _ in range(2)]
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        poll = asyncio.create_task(http.get(receiving.address.url(sid=sids[0])))
        await until(lambda: receiving.pending == 1)
        assert (await ask(receiving.address, sids[1])).status_code == 503
        assert (await ask(owning.address, sids[0])).text == "ok"
        poll.cancel()
        await asyncio.wait((poll,))
    await until(lambda: receiving.pending == 0)
    assert (await ask(receiving.address, sids[1])).text == "ok"


async def test_the_end_of_an_owner_ends_what_is_forwarded_to_it(site: Site) -> None:
    """Also if its connections stay open, as those of a machine without power."""
    receiving, owning = await site.two()
    sid = await owning.open()
    async with aiohttp.ClientSession() as http:
        client = await http.ws_connect(receiving.address.url("websocket", sid))
        await client.send_str("2probe")
        assert await client.receive_str() == "3probe"
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as poller:
            poll = asyncio.create_task(poller.get(receiving.address.url(sid=await owning.open())))
            await until(lambda: receiving.pending == 2)
            receiving.owners.remove("bbb")
            assert (await client.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
            assert (await poll).json() == UNKNOWN
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
        assert (await ask(receiving.address, "bbb.x")).json() == UNKNOWN
        for each in fill:
            each.close()


async def test_a_slow_client_is_slow_for_the_owner(site: Site) -> None:
    """Between them a bounded number of bytes waits. When the client reads, it gets everything."""
    receiving, owning = await site.two()
    sid = await owning.open()
    session = next(iter(registry_of(owning.sockets)))
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
    async with httpx.AsyncClient(verify=False, trust_env=False) as http:  # noqa: S501  # it is the test's own
        answer = await http.get(owning.address.url().replace("http:", "https:"))
    sid = re.findall(r'"sid":"([^"]+)"', answer.text)[0]
    receiving.owners.known["bbb"] = owner
    assert (await ask(receiving.address, sid)).text == "ok"
    async with (
        aiohttp.ClientSession() as sockets,
        sockets.ws_connect(receiving.address.url("websocket", sid)) as client,
    ):
        await client.send_str("2probe")
        assert await client.receive_str() == "3probe"
    for wrong in ("0" * 64, ""):
        receiving.owners.remove("bbb")
        receiving.owners.known["bbb"] = owner._replace(certificate=wrong)
        assert (await ask(receiving.address, sid)).json() == UNKNOWN


async def test_connections_over_tls_share_the_systems_certificates(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading them takes 25 ms, and anyone may cause a connection to an owner."""
    receiving, owning = await site.two()
    sid = await owning.open()
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
            assert (await ask(receiving.address, sid)).json() == UNKNOWN
    assert len(loaded) <= 2  # one may be httpx's


# Workers of one machine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "workers"
    path.mkdir(mode=0o700)
    return path


async def test_a_connection_moves_between_workers(site: Site, folder: Path) -> None:
    """With each request to the worker of the session, as often as necessary. No worker keeps it."""
    one, two = [await site.start(Instance(tag), workers=folder) for tag in ("aaa", "bbb")]
    sids = {one: await one.open(), two: await two.open()}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        for _ in range(3):
            for instance in (one, two):
                answer = await http.post(one.address.url(sid=sids[instance]), content="6")
                assert answer.text == "ok"
                assert [len(each.connections) for each in (one, two)] == [instance is one, instance is two]
        assert (one.total, two.total) == ({"handed over": 3}, {"handed over": 2})


async def test_a_websocket_moves_to_its_worker(site: Site, folder: Path) -> None:
    """With what the client sent behind the handshake. The first worker has no part in it."""
    one, two = [await site.start(Instance(tag), workers=folder) for tag in ("aaa", "bbb")]
    sid = await two.open()
    async with raw(one.address) as client:
        await client.send(handshake(one.address, sid) + client_frame(TEXT, b"2probe"))
        assert (await client.head()).startswith("HTTP/1.1 101 ")
        assert (await client.read(8)).endswith(b"3probe")
    assert (one.total, one.pending) == ({"handed over": 1}, 0)


async def test_a_split_request_reaches_its_worker(site: Site, folder: Path) -> None:
    """In pieces of any size, and behind another request: by its connection or by another one."""
    one, two = [await site.start(Instance(tag), workers=folder) for tag in ("aaa", "bbb")]
    for owners, other in ((one.owners, two), (two.owners, one)):
        owners.known[other.tag] = other.owner
    sid = await two.open()
    request = f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n6"
    for cut in (1, 20, request.index(" HTTP") + 3, request.index("Host") + 2, len(request) - 1):
        reader, writer = await asyncio.open_connection("127.0.0.1", one.address.port)
        for part in (request[:cut], request[cut:]):
            writer.write(part.encode())
            await asyncio.sleep(0.05)
        assert await reader.readuntil(b"\r\n\r\nok")
        writer.write(request.encode())
        assert await reader.readuntil(b"\r\n\r\nok")
        writer.close()
    health = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", one.address.port)
    writer.write((health + request).encode())
    assert b"404" in await reader.readuntil(b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\nok")
    writer.close()


@pytest.mark.parametrize(
    ("query", "tag"),
    [
        (b"sid=bbb.x", b"bbb"),
        (b"EIO=4&sid=my.bbb.x&transport=polling", b"bbb"),
        (b"sid=aaa.x&sid=bbb.x", b"bbb"),
        (b"sid=bbb.x&sid=", None),
        (b"xsid=bbb.x", None),
        (b"sid=b%62b.x", None),
        (b"sid=bbb", None),
        (b"sid=.bbb", None),
        (b"", None),
    ],
)
def test_the_tag_in_a_query(query: bytes, tag: bytes | None) -> None:
    assert tag_in_query(query) == tag
    if tag is not None:
        assert tag_of(parse_query(query.decode())["sid"]) == tag.decode()


async def test_a_dead_worker_is_unknown(site: Site, folder: Path) -> None:
    """Its socket may be left behind."""
    one = await site.start(Instance("aaa"), workers=folder)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(folder / "sessions-bbb"))
    assert (await ask(one.address, "bbb.x")).json() == UNKNOWN
    assert one.total == {}


async def test_tls_connections_are_forwarded_to_workers(site: Site, folder: Path, tmp_path: Path) -> None:
    """Their keys stay in the process that has accepted them."""
    tls = tls_context(*make_certificate(tmp_path, "server"))
    one, two = [await site.start(Instance(tag), workers=folder, tls=tls) for tag in ("aaa", "bbb")]
    one.owners.known["bbb"] = Owner("bbb", "https://127.0.0.1:9", two.key)
    async with httpx.AsyncClient(verify=False, trust_env=False) as http:  # noqa: S501  # it is the test's own
        answer = await http.get(two.address.url().replace("http:", "https:"))
        sid = re.findall(r'"sid":"([^"]+)"', answer.text)[0]
        for _ in range(2):
            assert (await http.post(one.address.url(sid=sid).replace("http:", "https:"), content="6")).text == "ok"
    assert one.total == {"polling": 2}
    async with (
        aiohttp.ClientSession() as sockets,
        sockets.ws_connect(one.address.url("websocket", sid).replace("ws:", "wss:"), ssl=False) as client,
    ):
        await client.send_str("2probe")
        assert await client.receive_str() == "3probe"


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_worker_without_file_descriptors_answers(
    site: Site, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """A connection that cannot be forwarded must not hang: nothing would end it."""
    tls = tls_context(*make_certificate(tmp_path, "server"))
    one, two = [await site.start(Instance(tag), workers=folder, tls=tls) for tag in ("aaa", "bbb")]
    one.owners.known["bbb"] = two.owner

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("synkora.serving.forwarding.socket", SimpleNamespace(socketpair=refuse))
    url = one.address.url(transport, "made.bbb.up").replace("http:", "https:").replace("ws:", "https:")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=PATIENCE) as http:  # noqa: S501  # the test's own
        answer = await http.get(url, headers=upgrade if transport == "websocket" else {})
    assert answer.json() == UNKNOWN
    await until(lambda: one.pending == 0)


async def test_another_machine_reaches_a_worker_through_any_other(site: Site, folder: Path, tmp_path: Path) -> None:
    """Workers share a port: what is for one of them may arrive at another, with TLS or without."""
    for tls in (None, tls_context(*make_certificate(tmp_path, "server"))):
        scheme = "http:" if tls is None else "https:"
        remote = await site.start(Instance("ccc"))
        one, two = [await site.start(Instance(f"{tag}{scheme[:-1]}"), workers=folder, tls=tls) for tag in ("a", "b")]
        async with httpx.AsyncClient(verify=False, trust_env=False) as http:  # noqa: S501  # it is the test's own
            answer = await http.get(two.address.url().replace("http:", scheme))
        sid = re.findall(r'"sid":"([^"]+)"', answer.text)[0]
        certificate = "" if tls is None else hashlib.sha256(_shown(tmp_path)).hexdigest()
        url = one.address.http.replace("http:", scheme)
        remote.owners.known[two.tag] = Owner(two.tag, url, two.key, certificate)
        for _ in range(2):
            assert (await ask(remote.address, sid)).text == "ok"


def _shown(folder: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert((folder / "server.crt").read_text())
