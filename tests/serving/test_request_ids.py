"""An id for each HTTP request, in its response and in the log."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.support.clients import Polling, websocket
from tests.support.processes import PATIENCE
from tests.support.servers import Address, serving
from websockets.exceptions import InvalidStatus

from synkora.serving.request_ids import RequestContext, current_request_id
from synkora.sockets.server import SocketServer

OWN = re.compile(r"[0-9a-f]{12}-[0-9a-f]+")
SANE = ["a", "7f3c0b52-9d1e-4c3a-8f59-0d6c1f0a4d11", "Root=1-67891233-abcdef012345678912345678", "x" * 128]
INSANE = ["", "x" * 129, "a b", 'a"b', "a\tb", "é", "<script>", "a;b"]


def logged() -> dict[str, object]:
    """The fields that are added to a log entry in this context."""
    request_id = current_request_id()
    return {} if request_id is None else {"requestId": request_id}


@pytest_asyncio.fixture
async def address() -> AsyncIterator[Address]:
    async def page(_: Request) -> PlainTextResponse:
        await asyncio.sleep(0)
        return PlainTextResponse(json.dumps(logged()))

    async with serving(SocketServer(), app=Starlette(routes=[Route("/", page)])) as address:
        yield address


async def ask(address: Address, path: str, given: str | None = None) -> httpx.Response:
    headers = {} if given is None else {b"X-Request-Id": given.encode()}
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False, headers=headers) as http:
        return await http.get(address.http + path)


@pytest.mark.parametrize("given", SANE)
async def test_a_valid_id_is_used(address: Address, given: str) -> None:
    """In the response and in the log, also if a proxy made it."""
    answer = await ask(address, "/", given)
    assert answer.headers["x-request-id"] == given
    assert answer.json() == {"requestId": given}


@pytest.mark.parametrize("given", INSANE)
async def test_an_invalid_id_is_replaced(address: Address, given: str) -> None:
    """Its characters could harm a log."""
    answer = await ask(address, "/", given)
    assert OWN.fullmatch(answer.headers["x-request-id"])


async def test_each_request_has_its_own_id(address: Address) -> None:
    """Requests without an id: pages, posts and refusals, also on one connection."""
    async with Polling(address, opens=False) as client:
        opening = await client.http.get(address.url())
        client.sid = json.loads(opening.text[1:])["sid"]
        posted = await client.post("40")
        client.sid = "unknown"
        answers = [posted, await client.get(), await ask(address, "/nowhere")]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == 3
    assert all(map(OWN.fullmatch, ids))
    assert all(len(answer.headers.get_list("x-request-id")) == 1 for answer in answers)


async def test_polls_that_succeed_go_without(address: Address) -> None:
    async with Polling(address, opens=False) as client:
        opening = await client.http.get(address.url(), headers={"X-Request-Id": "mine"})
    assert opening.status_code == 200
    assert "x-request-id" not in opening.headers


async def test_a_websocket_has_that_of_its_handshake(address: Address) -> None:
    """In the response, 101 or a refusal."""
    async with websocket(address, additional_headers={"X-Request-Id": "mine"}) as client:
        assert client.connection.response is not None
        assert client.connection.response.headers["X-Request-Id"] == "mine"
    async with websocket(address) as client:
        assert client.connection.response is not None
        assert OWN.fullmatch(client.connection.response.headers["X-Request-Id"])
    with pytest.raises(InvalidStatus) as refused:
        async with websocket(address, "unknown", additional_headers={"X-Request-Id": "mine"}):
            pass
    assert refused.value.response.headers["X-Request-Id"] == "mine"


async def test_log_lines_after_a_request_do_not_have_its_id() -> None:
    """Neither a timer that the request started, after its response, nor anything outside of it."""
    loop = asyncio.get_running_loop()
    later: asyncio.Future[dict[str, object]] = loop.create_future()
    with RequestContext([(b"x-request-id", b"mine")]):
        loop.call_later(0.01, lambda: later.set_result(logged()))
        assert logged() == {"requestId": "mine"}
    assert logged() == {}
    assert await later == {}


def test_ids_are_never_made_twice() -> None:
    ids = {RequestContext([(b"host", b"a")]).id for _ in range(1000)}
    assert len(ids) == 1000
