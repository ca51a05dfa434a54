"""A real browser with a session cookie that no script can read, on a page that does what the web app's pages do."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.end_to_end.app_visitors import V4, V5, AppVisitor, collaborate
from tests.end_to_end.web_app import WebApp
from tests.support.relay import relaying
from tests.support.server_process import ServerProcess
from tests.support.servers import until
from tests.support.users import ALICE, BOB, PROJECT, User


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def app() -> AsyncIterator[WebApp]:
    """The web app's pages, on an origin that the server allows."""
    async with WebApp().running() as app:
        yield app


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def synkora(app: WebApp, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """The server on another port than the app, as in the app's own set-up."""
    # Refusals by polling wait for an upgrade, as long as an upgrade may take.
    variables = {"ALLOWED_ORIGINS": app.origin, "WS_UPGRADE_TIMEOUT": "2"}
    server = ServerProcess(tmp_path_factory.mktemp("server"), **variables)
    yield server
    assert server.stop() == 0, server.output
    assert not server.stderr


@pytest.mark.parametrize("session", [V4, V5], ids=["NextAuth v4", "Auth.js v5"])
async def test_the_apps_own_set_up_works_unchanged(
    app: WebApp, synkora: ServerProcess, visitors: list[AppVisitor], session: dict[str, str]
) -> None:
    """Page and server on two ports of localhost, a default client: the cookie comes with the WebSocket handshake."""
    url = f"http://localhost:{synkora.port}"
    assert await collaborate(visitors, app, url, {}, session) == "websocket"


OPTIONS = {
    "the cookie sent by polling too": ({"withCredentials": True}, "websocket"),
    "WebSocket alone": ({"transports": ["websocket"]}, "websocket"),
    "polling alone, with the cookie": ({"transports": ["polling"], "withCredentials": True}, "polling"),
}


@pytest.mark.parametrize(("options", "transport"), OPTIONS.values(), ids=list(OPTIONS))
async def test_the_cookie_signs_in_over_every_transport(
    app: WebApp, synkora: ServerProcess, visitors: list[AppVisitor], options: dict[str, Any], transport: str
) -> None:
    """A client that sends credentials, or uses only WebSocket, needs no wait for an upgrade."""
    url = f"http://localhost:{synkora.port}"
    assert await collaborate(visitors, app, url, options, V4) == transport


@pytest.mark.parametrize("behind", [ALICE, BOB], ids=["the poll with the edit", "the post with the edit"])
async def test_a_request_that_the_browser_repeats_neither_loses_nor_doubles_an_edit(
    app: WebApp, synkora: ServerProcess, visitors: list[AppVisitor], behind: User
) -> None:
    """Chromium repeats a request, unseen by the page, if a used connection ends without a response."""
    alice, bob = visitors
    was = "received.filter(([name]) => name === 'task:move').map(([, {taskId}]) => taskId)"
    async with relaying(synkora.port) as relay:
        for visitor, user in ((alice, ALICE), (bob, BOB)):
            url = f"http://localhost:{relay.port if user is behind else synkora.port}"
            await visitor.enter(app, user, url, {"transports": ["polling"], "withCredentials": True}, V4)
        await bob.evaluate(move("before"))
        await alice.wait(f"{was}.includes('before')")
        relay.is_deaf = True
        await bob.evaluate(move("lost"))
        await until(lambda: relay.unheard == 1)
        relay.reset_unheard()
        await bob.evaluate(move("after"))
        await alice.wait(f"{was}.includes('after')")
        assert await alice.evaluate(was) == ["before", "lost", "after"]
        for visitor in visitors:
            await visitor.evaluate("void socket.disconnect()")


def move(task: str) -> str:
    return f"void socket.emit('task:move', {{projectId: '{PROJECT}', taskId: '{task}', status: 'DONE'}})"


async def test_one_origin_behind_a_proxy_works(synkora: ServerProcess, visitors: list[AppVisitor]) -> None:
    """If a proxy forwards /socket.io/ to the server, the page's own origin need not be in ALLOWED_ORIGINS."""
    async with WebApp(behind=synkora.port).running() as app:
        assert await collaborate(visitors, app, None, {}, V4) == "websocket"
        for visitor in visitors:
            await visitor.evaluate("void socket.disconnect()")


async def test_without_its_cookie_a_page_is_not_admitted(
    app: WebApp, synkora: ServerProcess, visitors: list[AppVisitor]
) -> None:
    """Neither by a user's id, nor by polling while the browser withholds the cookie."""
    url = f"http://localhost:{synkora.port}"
    alice, bob = visitors
    await alice.visit(app, None, V4)
    await alice.start(url, {"auth": {"token": ALICE.id}})
    await bob.visit(app, BOB, V4)
    await bob.start(url, {"auth": {"token": BOB.id}, "transports": ["polling"]})
    for visitor in visitors:
        assert await visitor.expect("connect_error") == ["connect_error", "Authentication failed"]
        assert "connect" not in [name for name, *_ in await visitor.evaluate("received")]


@pytest.mark.parametrize("options", [{}, {"transports": ["websocket"]}, {"withCredentials": True}], ids=str)
async def test_a_page_of_another_origin_does_not_get_in(
    synkora: ServerProcess, visitors: list[AppVisitor], options: dict[str, Any]
) -> None:
    """Neither with the cookie, which the browser sends from any port of the host, nor with a valid token."""
    alice = visitors[0]
    async with WebApp().running() as elsewhere:
        await alice.visit(elsewhere, ALICE, V4)
        await alice.start(f"http://localhost:{synkora.port}", {"auth": {"token": ALICE.token}, **options})
        await alice.expect("connect_error")
        assert "connect" not in [name for name, *_ in await alice.evaluate("received")]
        await alice.evaluate("void socket.disconnect()")
