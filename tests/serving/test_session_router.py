"""Where requests go: to the instance that owns the session, and nowhere else."""

import asyncio
import socket

import aiohttp
import pytest
from tests.serving.instances import UNKNOWN, Instance, Site, ask, probed
from tests.support.servers import until

from synkora.engine.incidents import IncidentKind
from synkora.engine.request import parse_query
from synkora.engine.transports.websocket_heads import Peer
from synkora.serving import forward_signature
from synkora.serving.forward_signature import HEADER, sign
from synkora.serving.owners import tag_of
from synkora.serving.session_router import SessionRouter, tag_in_query


async def test_a_session_of_no_known_instance_is_unknown(site: Site) -> None:
    receiving, _, sid = await site.two()
    receiving.owners.remove("bbb")
    assert (await ask(receiving, sid)).json() == UNKNOWN
    for other in ("ccc.x", "x", ".", "..", "ccc.", "a b.x", "ccc/../bbb.x"):
        assert (await ask(receiving, other)).json() == UNKNOWN
    assert receiving.total == {}


async def test_only_socketio_is_forwarded(site: Site) -> None:
    """Whatever the path, the host and the method: an instance is no proxy for others."""
    receiving, _, sid = await site.two()
    for path in ("/health", "/", "/socket.io/../health", "/socket.iox/", "//socket.io/"):
        assert (await ask(receiving, sid, "GET", f"{path}?sid={sid}")).status_code == 404
    assert (await ask(receiving, sid, "PUT")).status_code != 200
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
    receiving, owning, _ = await site.two()
    third = await site.start(Instance("ccc"))
    owning.owners.known["ccc"] = third.owner
    receiving.owners.known["ccc"] = third.owner._replace(url=owning.address.http)  # a wrong WS_ADVERTISE
    sid = await third.open()
    assert (await ask(receiving, sid)).json() == UNKNOWN
    assert (owning.total, third.total) == ({}, {})
    receiving.owners.known["ccc"] = third.owner._replace(url=receiving.address.http)
    assert (await ask(receiving, sid)).json() == UNKNOWN
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await probed(receiving, sid).__aenter__()
    assert refused.value.status == 400
    await until(lambda: receiving.pending == 0)


async def test_a_request_is_accepted_once(site: Site) -> None:
    """With the signature of an instance that knows the key, and not a second time."""
    owning = await site.start(Instance("bbb"))
    sid = await owning.open()
    target = owning.address.url(sid=sid).removeprefix(owning.address.http).encode()
    value = sign(owning.key, b"POST", target, Peer("192.0.2.1", over_tls=False))
    statuses = [(await ask(owning, sid, headers={HEADER.decode(): value.decode()})).status_code for _ in "12"]
    assert statuses == [200, 421]
    assert owning.refusals == [(IncidentKind.REQUEST_REFUSED, "forwarded: replayed", "")]


@pytest.mark.parametrize("made_up", ["bbb.unknown", "b%62b.unknown"])
async def test_made_up_ids_do_not_fill_the_memory_of_signatures(
    site: Site, monkeypatch: pytest.MonkeyPatch, made_up: str
) -> None:
    """Strangers can have any number of them signed. Each client with a session has room."""
    monkeypatch.setattr(forward_signature, "MAX_NONCES", 2)
    receiving, owning, sid = await site.two()
    for _ in range(3):
        assert (await ask(receiving, made_up)).json() == UNKNOWN
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await probed(receiving, made_up).__aenter__()
    assert (await ask(receiving, sid)).text == "ok"
    assert {refusal[1] for refusal in owning.refusals} == {"Session ID unknown"}


async def test_the_owner_sees_the_client(site: Site) -> None:
    """As if it had been connected: its own address, or what a trusted proxy says, and never what it says itself."""
    for proxies, address in (((), "127.0.0.1"), (("127.0.0.1",), "192.0.2.9")):
        receiving = await site.start(Instance("aaa", proxies=proxies))
        owning = await site.start(Instance("bbb", proxies=proxies))
        receiving.owners.known["bbb"] = owning.owner
        headers = {"X-Forwarded-For": "192.0.2.9"}
        assert (await ask(receiving, "bbb.unknown", headers=headers)).json() == UNKNOWN
        assert receiving.refusals == []
        assert owning.refusals[0] == (IncidentKind.REQUEST_REFUSED, "Session ID unknown", address)
        assert {each[2] for each in owning.refusals} == {address}


async def test_long_first_lines_are_not_searched(site: Site) -> None:
    """They come with as much as one read has, and before any turn. A long head after a usual line is none."""
    receiving, _, sid = await site.two()
    router: SessionRouter = receiving.server._make_protocol.keywords["router"]
    line = b"GET /socket.io/?%b&sid=%b HTTP/1.1\r\n"
    head = b"Cookie: %b\r\n\r\n" % (b"x" * 10_000)
    for parameters, is_elsewhere in ((b"EIO=4", True), (b"a" * 1900, True), (b"&" * 2048, False), (b"a" * 2048, False)):
        assert router.is_elsewhere(line % (parameters, sid.encode()) + head) is is_elsewhere


@pytest.mark.parametrize(
    ("query", "tag"),
    [
        (b"sid=bbb.x", b"bbb"),
        (b"&&sid=bbb.x&&", b"bbb"),
        (b"sid=bbb.x&xsid=ccc.x&tsid=ddd.x", b"bbb"),
        (b"sid=bbb.x=", None),
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
