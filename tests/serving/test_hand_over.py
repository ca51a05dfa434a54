"""Connections for sessions of other workers of the same machine."""

import asyncio
import errno
import hashlib
import socket
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.serving.instances import UNKNOWN, Instance, Site, ask, handshake, probed
from tests.support.certificates import make_certificate
from tests.support.processes import PATIENCE
from tests.support.servers import QUEUED, crowded, most_in_one_turn, queued, until
from tests.support.wire import TEXT, client_frame, raw

from synkora.engine.incidents import IncidentKind
from synkora.engine.transports.websocket_heads import Peer
from synkora.serving import hand_over
from synkora.serving.forward_signature import HEADER, sign
from synkora.serving.hand_over import WorkerSockets
from synkora.serving.owners import Owner
from synkora.serving.tls import tls_context
from synkora.sockets.internals import registry_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "workers"
    path.mkdir(mode=0o700)
    return path


async def test_a_connection_moves_between_workers(site: Site, folder: Path) -> None:
    """With each request to the worker of the session, as often as necessary. No worker keeps it."""
    one, two, sid = await site.workers(folder)
    sids = {one: await one.open(), two: sid}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        for _ in range(3):
            for instance in (one, two):
                answer = await http.post(one.address.url(sid=sids[instance]), content="6")
                assert answer.text == "ok"
                assert [len(each.connections) for each in (one, two)] == [instance is one, instance is two]
        assert (one.total, two.total) == ({"handed over": 3}, {"handed over": 2})


async def test_a_websocket_moves_to_its_worker(site: Site, folder: Path) -> None:
    """With what the client sent behind the handshake. The first worker has no part in it."""
    one, _, sid = await site.workers(folder)
    async with raw(one.address) as client:
        await client.send(handshake(one.address, sid) + client_frame(TEXT, b"2probe"))
        assert (await client.head()).startswith("HTTP/1.1 101 ")
        assert (await client.read(8)).endswith(b"3probe")
    assert (one.total, one.pending) == ({"handed over": 1}, 0)


async def test_frames_of_a_connection_that_is_passed_wait_for_their_turn(site: Site, folder: Path) -> None:
    """Those behind the handshake too. Each event arrives once, as it was sent."""
    one, two, sid = await site.workers(folder)
    seen: list[object] = []
    two.sockets.of("/").on("n", lambda socket, *values: seen.append(values))
    packets = [b"2probe", b"5", b"40", *(b'42["n",%d,"%b"]' % (number, b"x" * 1_000) for number in range(20))]
    registry = registry_of(two.sockets)
    async with raw(one.address) as client:
        with crowded(registry.strangers, registry.arrivals, registry.elsewhere):
            await client.send(handshake(one.address, sid), *(client_frame(TEXT, packet) for packet in packets))
            await until(lambda: len(seen) == 20)
        await client.send(client_frame(TEXT, b'42["n","last"]'))
        await until(lambda: len(seen) > 20)
    assert seen == [*((number, "x" * 1_000) for number in range(20)), ("last",)]
    assert one.total == {"handed over": 1}


@pytest.mark.parametrize("slow", ["passes", "takes"])
async def test_connections_that_are_passed_share_the_turns(site: Site, folder: Path, slow: str) -> None:
    """To pass one, and to take it, takes as long as an answer."""
    one, two, _ = await site.workers(folder)
    registry_of((one if slow == "passes" else two).sockets).elsewhere.share = 1e-9
    request = f"POST /socket.io/?EIO=4&transport=polling&sid={two.tag}.unknown HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw(one.address)) for _ in range(20)]
        await until(lambda: len(one.connections) == len(clients))
        for client in clients:
            client.writer.write(request)
        passed, taken = lambda: one.total.get("handed over", 0), lambda: len(two.connections)
        assert await most_in_one_turn(passed if slow == "passes" else taken, len(clients)) <= 2


async def test_a_connection_that_is_passed_does_not_wait_behind_those_of_other_addresses(
    site: Site, folder: Path
) -> None:
    one, two, sid = await site.workers(folder)
    request = f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n6"
    async with raw(one.address) as client:
        with queued(registry_of(two.sockets).elsewhere) as turns:
            client.writer.write(request.encode())
            assert await client.status() == 200
            assert one.total["handed over"] == 1
            assert turns() < QUEUED


async def test_a_split_request_reaches_its_worker(site: Site, folder: Path) -> None:
    """In pieces of any size, and behind another request: by its connection or by another one."""
    one, two, sid = await site.workers(folder)
    for owners, other in ((one.owners, two), (two.owners, one)):
        owners.known[other.tag] = other.owner
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


async def test_a_dead_worker_is_unknown(site: Site, folder: Path) -> None:
    """Its socket may be left behind."""
    one = await site.start(Instance("aaa"), workers=folder)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(folder / "sessions-bbb"))
    assert (await ask(one, "bbb.x")).json() == UNKNOWN
    assert one.total == {}


async def test_tls_connections_are_forwarded_to_workers(site: Site, folder: Path, tmp_path: Path) -> None:
    """Their keys stay in the process that has accepted them."""
    one, two, sid = await site.workers(folder, tls=tls_context(*make_certificate(tmp_path, "server")))
    one.owners.known["bbb"] = Owner("bbb", "https://127.0.0.1:9", two.key)
    for _ in range(2):
        assert (await ask(one, sid)).text == "ok"
    assert one.total == {"polling": 2}
    async with probed(one, sid):
        pass


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_worker_without_file_descriptors_answers(
    site: Site, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """A connection that cannot be forwarded must not hang: nothing would end it."""
    one, two, _ = await site.workers(folder, tls=tls_context(*make_certificate(tmp_path, "server")))
    one.owners.known["bbb"] = two.owner

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("synkora.serving.forwarding.socket", SimpleNamespace(socketpair=refuse))
    url = one.url(transport, "made.bbb.up").replace("wss:", "https:")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=PATIENCE) as http:  # noqa: S501  # the test's own
        answer = await http.get(url, headers=upgrade if transport == "websocket" else {})
    assert answer.json() == UNKNOWN
    await until(lambda: one.pending == 0)


async def test_a_worker_without_file_descriptors_accepts_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in each turn of the event loop, which would take all of its time."""
    taken: list[bytes] = []
    accepts = 0

    def take(connection: socket.socket, data: bytes) -> None:
        connection.close()
        taken.append(data)

    class Exhausted(socket.socket):
        """The process has no file descriptor left for a while."""

        def accept(self) -> Any:
            nonlocal accepts
            accepts += 1
            if accepts == 1:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    one, other = WorkerSockets(tmp_path, "one", take), WorkerSockets(tmp_path, "two", take)
    monkeypatch.setattr(hand_over, "_ACCEPT_AGAIN", 3600)
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", Exhausted)
        one.start()
    with socket.socket() as passed:
        assert other.pass_on("one", passed.fileno(), b"a")
    await until(lambda: bool(accepts))
    for _ in range(10):
        await asyncio.sleep(0)
    assert (accepts, taken) == (1, [])
    assert one._pause is not None
    assert one._listening is not None
    one._pause.cancel()
    asyncio.get_running_loop().add_reader(one._listening, one._accept, one._listening)  # as after the pause
    await until(lambda: taken == [b"a"])
    one.close()


async def test_another_machine_reaches_a_worker_through_any_other(site: Site, folder: Path, tmp_path: Path) -> None:
    """Workers share a port: what is for one of them may arrive at another, with TLS or without."""
    for tls in (None, tls_context(*make_certificate(tmp_path, "server"))):
        scheme = "http:" if tls is None else "https:"
        remote = await site.start(Instance("ccc"))
        one, two, sid = await site.workers(folder, f"a{scheme[:-1]}", f"b{scheme[:-1]}", tls=tls)
        certificate = "" if tls is None else hashlib.sha256(_shown(tmp_path)).hexdigest()
        url = one.address.http.replace("http:", scheme)
        remote.owners.known[two.tag] = Owner(two.tag, url, two.key, certificate)
        one.owners.known[two.tag] = two.owner
        for _ in range(2):
            assert (await ask(remote, sid)).text == "ok"


def _encoded(sid: str) -> str:
    """The target of a poll or a post that a worker forwards: the first line is not decoded to pass a connection on."""
    return f"/socket.io/?EIO=4&transport=polling&sid={sid.replace('b', '%62')}"


async def test_a_clients_forwarding_header_is_not_passed_on(site: Site, folder: Path) -> None:
    """The owner would refuse it, whatever the method, and each would be a forwarded request above the limit."""
    one, two, sid = await site.workers(folder)
    one.owners.known["bbb"] = two.owner
    target = _encoded(sid)
    valid = sign(two.key, b"POST", target.encode(), Peer("192.0.2.1", over_tls=False)).decode()
    async with httpx.AsyncClient(base_url=one.address.http, trust_env=False, timeout=PATIENCE) as http:
        for value in ("x", f"1 2 http 192.0.2.1 {'0' * 64}", valid):
            for method in ("GET", "PUT", "HEAD", "DELETE"):
                answer = await http.request(method, target, headers={HEADER.decode(): value})
                assert answer.status_code == 421
        assert one.total == {}
        assert two.refusals == []
        assert {refusal[:2] for refusal in one.refusals} == {(IncidentKind.REQUEST_REFUSED, "forwarded: forged")}
        assert (await http.post(target, headers={HEADER.decode(): valid}, content="6")).text == "ok"


async def test_requests_of_another_machine_for_another_worker_are_limited(site: Site, folder: Path) -> None:
    one, two, sid = await site.workers(folder, most=1)
    one.owners.known["bbb"] = two.owner

    async def forward(method: str) -> httpx.Response:
        target = _encoded(sid)
        value = sign(two.key, method.encode(), target.encode(), Peer("192.0.2.1", over_tls=False))
        return await ask(one, "", method, target, headers={HEADER.decode(): value.decode()})

    poll = asyncio.create_task(forward("GET"))
    await until(lambda: one.pending == 1)
    assert (await forward("POST")).status_code == 503
    next(iter(registry_of(two.sockets))).send(b"x")
    assert (await poll).text == "4x"
    await until(lambda: one.pending == 0)
    assert (await forward("POST")).text == "ok"


def _shown(folder: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert((folder / "server.crt").read_text())
