"""A stopping instance, and what it forwards to others: clients leave it, and lose nothing."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import httpx
import pytest
from tests.serving.instances import Instance, Site, ask, probed
from tests.support.processes import PATIENCE
from tests.support.servers import until
from tests.support.wire import request

from synkora.engine.session import Session, State
from synkora.serving.forwarding import END
from synkora.sockets.internals import registry_of

RESTART = 1012  # code of a close frame: the server restarts


@pytest.fixture
async def around() -> AsyncIterator[AsyncExitStack]:
    """Around the instance that stops."""
    async with AsyncExitStack() as around:
        yield around


@pytest.fixture
async def instances(site: Site, around: AsyncExitStack) -> tuple[Instance, Instance]:
    """An instance that stops, and the owner of the sessions."""
    receiving, owning = await Site(around).start(Instance("aaa")), await site.start(Instance("bbb"))
    receiving.owners.known["bbb"] = owning.owner
    receiving.server._shutdown_timeout = PATIENCE
    return receiving, owning


def session_of(instance: Instance) -> Session:
    (session,) = registry_of(instance.sockets)
    return session


@asynccontextmanager
async def upgraded(receiving: Instance, owning: Instance) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A client with a WebSocket to the owner, connected to the main namespace."""
    owning.sockets.of("/")
    sid = await owning.open()
    async with probed(receiving, sid) as client:
        await client.send_str("5")
        await client.send_str("40")
        assert (await client.receive_str()).startswith("40")
        yield client


@asynccontextmanager
async def polling(instance: Instance, sid: str) -> AsyncIterator[asyncio.Task[httpx.Response]]:
    """A poll through an instance. The owner has it."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        yield asyncio.create_task(http.get(instance.address.url(sid=sid)))


async def test_a_websocket_is_closed_by_its_owner(instances: tuple[Instance, Instance]) -> None:
    """Until the client answers the close frame, what it sends arrives and is acknowledged by TCP: nothing is lost."""
    receiving, owning = instances
    got: list[int] = []
    owning.sockets.of("/").on("edit", lambda _, number: got.append(number))
    async with upgraded(receiving, owning) as client:
        await client.send_str('42["edit",1]')
        draining = asyncio.create_task(receiving.server.drain_forwarded(PATIENCE))
        assert (await client.receive()).type is aiohttp.WSMsgType.CLOSE
        assert session_of(owning).state is State.DRAINING
        await client.send_str('42["edit",2]')
        await client.close()
        assert client.close_code == RESTART
        await draining
    await until(lambda: got == [1, 2])
    assert receiving.pending == 0


async def test_websockets_leave_over_the_time(instances: tuple[Instance, Instance]) -> None:
    """Of two one at once, and the other after half of the time, which the test does not await."""
    receiving, owning = instances
    async with upgraded(receiving, owning) as one, upgraded(receiving, owning) as two:
        draining = asyncio.create_task(receiving.server.drain_forwarded(600))
        closing = [asyncio.create_task(client.receive()) for client in (one, two)]
        (first,), (second,) = await asyncio.wait(closing, return_when=asyncio.FIRST_COMPLETED)
        assert first.result().type is aiohttp.WSMsgType.CLOSE
        assert len([each for each in registry_of(owning.sockets) if each.state is State.OPEN]) == 1
        draining.cancel()
        second.cancel()
        await asyncio.wait((draining, second))
        for client in (one, two):
            await client.close()


async def test_a_pending_poll_is_answered_at_the_end(
    instances: tuple[Instance, Instance], around: AsyncExitStack
) -> None:
    """With NOOP: the client polls again, over another instance. Its connection to this one ends."""
    receiving, owning = instances
    sid = await owning.open()
    async with polling(receiving, sid) as poll:
        await until(lambda: session_of(owning).transport.writable)
        await around.aclose()
        answer = await poll
    assert (answer.status_code, answer.text) == (200, "6")
    assert session_of(owning).state is State.OPEN
    async with polling(owning, sid) as poll:
        await until(lambda: session_of(owning).transport.writable)
        session_of(owning).send(b"x")
        assert (await poll).text == "4x"


async def test_a_post_under_way_is_completed_at_the_end(
    instances: tuple[Instance, Instance], around: AsyncExitStack
) -> None:
    receiving, owning = instances
    sid = await owning.open()
    rest = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"6\x1e"
        await rest.wait()
        yield b"6"

    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        post = asyncio.create_task(http.post(receiving.address.url(sid=sid), content=body()))
        await until(lambda: receiving.pending == 1)
        stopping = asyncio.create_task(around.aclose())
        await until(lambda: not any(each.is_serving() for each in receiving.server.servers))
        rest.set()
        assert (await post).text == "ok"
        await stopping


async def test_a_connection_that_waits_to_be_accepted_is_served_at_the_end(
    instances: tuple[Instance, Instance],
) -> None:
    """The system would reset it when the listening socket closes."""
    receiving, owning = instances
    sid = await owning.open()
    assert receiving.server.forwarder is not None
    post = request("POST", f"/socket.io/?EIO=4&transport=polling&sid={sid}", body=b"6")
    with socket.create_connection(("127.0.0.1", receiving.address.port), timeout=PATIENCE) as client:
        client.sendall(post)
        # No turn of the event loop is between: it would accept the connection.
        await receiving.server._finish_forwarded(
            receiving.server.forwarder, asyncio.get_running_loop().time() + PATIENCE
        )
        assert (await asyncio.to_thread(client.recv, 100)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_upgrade_that_has_begun_is_refused_at_the_end(
    instances: tuple[Instance, Instance], around: AsyncExitStack
) -> None:
    """The client stays with polling, which needs no further connection."""
    receiving, owning = instances
    sid = await owning.open()
    async with aiohttp.ClientSession() as http, http.ws_connect(receiving.address.url("websocket", sid)) as client:
        await until(lambda: session_of(owning).state is State.PROBING)
        stopping = asyncio.create_task(around.aclose())
        assert (await client.receive()).type is aiohttp.WSMsgType.CLOSE
        await stopping
    assert session_of(owning).state is State.OPEN
    assert (await ask(owning, sid)).text == "ok"


async def test_a_stopping_instance_forwards_polls_and_posts(instances: tuple[Instance, Instance]) -> None:
    """As long as it accepts connections, and each connection ends after the response. WebSockets are refused."""
    receiving, owning = instances
    sid = await owning.open()
    registry_of(receiving.sockets).stop_accepting()
    session_of(owning).send(b"x")
    for method, text in (("GET", "4x"), ("POST", "ok")):
        answer = await ask(receiving, sid, method)
        assert (answer.text, answer.headers["connection"]) == (text, "close")
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(receiving.address.url("websocket", sid))
    assert refused.value.status == 503


async def test_a_client_cannot_end_a_poll(instances: tuple[Instance, Instance]) -> None:
    """Neither its own nor another's: only instances can sign the request, and none forwards it."""
    receiving, owning = instances
    sid = await owning.open()
    async with polling(receiving, sid) as poll:
        await until(lambda: session_of(owning).transport.writable)
        for instance in (receiving, owning):
            assert (await ask(instance, sid, END.decode())).status_code >= 400
        assert session_of(owning).transport.writable
        session_of(owning).send(b"x")
        assert (await poll).text == "4x"


async def test_an_owner_that_has_ended_is_not_waited_for(instances: tuple[Instance, Instance]) -> None:
    receiving, owning = instances
    async with upgraded(receiving, owning) as client:
        receiving.owners.known.clear()
        await receiving.server.drain_forwarded(0.1)
        assert receiving.pending == 1
        receiving.owners.known["bbb"] = owning.owner._replace(url="http://127.0.0.1:9")
        await receiving.server.drain_forwarded(0.1)
        assert receiving.pending == 1
        await client.close()
