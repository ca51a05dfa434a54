"""A real browser, with a session's cookie that no script can read, on a page that does what the web app's pages do."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from tests.end_to_end.node_process import NodeProcess
from tests.end_to_end.people import ALICE, BOB, Person, npm_tokens
from tests.end_to_end.server_process import ServerProcess
from tests.end_to_end.session import PROJECT
from tests.end_to_end.web_app import WebApp

pytestmark = pytest.mark.asyncio(loop_scope="session")

V4 = {"cookie": "next-auth.session-token", "by": "nextauth"}
V5 = {"cookie": "authjs.session-token", "by": "authjs", "salt": "authjs.session-token"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def app() -> AsyncIterator[WebApp]:
    """The web app's pages, on an origin that the server allows."""
    async with WebApp().running() as app:
        yield app


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def synkora(app: WebApp, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """The server on another port than the app, as the app's own set-up has it."""
    server = ServerProcess(tmp_path_factory.mktemp("server"), ALLOWED_ORIGINS=app.origin)
    yield server
    assert server.stop() == 0, server.output
    assert not server.stderr


class Visitor:
    """Somebody in a browser of their own, on a page of the app."""

    def __init__(self, chromium: NodeProcess) -> None:
        self.console: list[str] = []
        self._chromium = chromium
        self._name = chromium.listen(lambda message: self.console.append(message["console"]))

    async def open(self, app: WebApp, person: Person | None, session: dict[str, str]) -> None:
        """Open the page, with a session of `person` if there is one."""
        query = ""
        if person is not None:
            cookie = session["cookie"]
            [token] = npm_tokens([{"claims": {**person.claims, "sub": person.id}, **session}])
            query = urlencode({"session": token, "cookie": cookie})
        await self._chromium.ask("open", name=self._name, url=f"{app.origin}/?{query}")
        assert await self.evaluate("document.cookie") == ""

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return await self._chromium.ask("evaluate", name=self._name, expression=expression)

    async def start(self, url: str | None, options: dict[str, Any]) -> None:
        """Have the page connect."""
        await self.evaluate(f"start({json.dumps(url) if url else 'undefined'}, {json.dumps(options)})")

    async def expect(self, name: str) -> list[Any]:
        """Wait for the first event of this name; return it."""
        try:
            await self._chromium.ask(
                "wait", name=self._name, expression=f"received.some(([name]) => name === {json.dumps(name)})"
            )
        except AssertionError as error:
            raise AssertionError(f"no {name} in {await self.evaluate('received')}: {error} {self.console}") from None
        events: list[list[Any]] = await self.evaluate("received")
        return next(event for event in events if event[0] == name)

    async def close(self) -> None:
        """Close the browser's window."""
        await self._chromium.ask("close", name=self._name)


@pytest_asyncio.fixture(loop_scope="session")
async def visitors(chromium: NodeProcess) -> AsyncIterator[list[Visitor]]:
    """Two people, each with a browser of their own."""
    visitors = [Visitor(chromium), Visitor(chromium)]
    yield visitors
    for visitor in visitors:
        await visitor.close()


async def collaborate(
    visitors: list[Visitor], app: WebApp, url: str | None, options: dict[str, Any], session: dict[str, str]
) -> str:
    """Have Alice and Bob sign in by their cookies and see each other's work; return Alice's transport in the end."""
    people = ALICE, BOB
    for visitor, person in zip(visitors, people, strict=True):
        await visitor.open(app, person, session)
        # The page cannot read the cookie, and sends the user's id for a token.
        await visitor.start(url, {"auth": {"token": person.id}, **options})
        assert (await visitor.expect("connected"))[1]["userId"] == person.id
        await visitor.evaluate(f"void socket.emit('join-project', '{PROJECT}')")
        await visitor.expect("users:active")
    alice, bob = visitors
    assert (await alice.expect("user:joined"))[1]["userName"] == "Bob"
    await bob.evaluate(f"void socket.emit('task:move', {{projectId: '{PROJECT}', taskId: 't1', status: 'DONE'}})")
    assert await alice.expect("task:move") == ["task:move", {"taskId": "t1", "status": "DONE"}]
    assert alice.console == bob.console == []
    transport: str = await alice.evaluate("socket.io.engine.transport.name")
    return transport


@pytest.mark.parametrize("session", [V4, V5], ids=["NextAuth v4", "Auth.js v5"])
async def test_the_apps_own_set_up_works_unchanged(
    app: WebApp, synkora: ServerProcess, visitors: list[Visitor], session: dict[str, str]
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
    app: WebApp, synkora: ServerProcess, visitors: list[Visitor], options: dict[str, Any], transport: str
) -> None:
    """A client that asks for its cookies to be sent, or uses WebSocket alone, needs no wait for an upgrade."""
    url = f"http://localhost:{synkora.port}"
    assert await collaborate(visitors, app, url, options, V4) == transport


async def test_one_origin_behind_a_proxy_works(synkora: ServerProcess, visitors: list[Visitor]) -> None:
    """Where a proxy sends /socket.io/ to the server, the page's own origin need not be in ALLOWED_ORIGINS."""
    async with WebApp(behind=synkora.port).running() as app:
        assert await collaborate(visitors, app, None, {}, V4) == "websocket"
        for visitor in visitors:
            await visitor.evaluate("void socket.disconnect()")


async def test_without_its_cookie_a_page_is_not_let_in(
    app: WebApp, synkora: ServerProcess, visitors: list[Visitor]
) -> None:
    """Nobody is signed in by a user's id alone, nor by polling where the browser keeps the cookie back."""
    url = f"http://localhost:{synkora.port}"
    alice, bob = visitors
    await alice.open(app, None, V4)
    await alice.start(url, {"auth": {"token": ALICE.id}})
    await bob.open(app, BOB, V4)
    await bob.start(url, {"auth": {"token": BOB.id}, "transports": ["polling"]})
    for visitor in visitors:
        assert await visitor.expect("connect_error") == ["connect_error", "Authentication failed"]
        assert "connect" not in [name for name, *_ in await visitor.evaluate("received")]


@pytest.mark.parametrize("options", [{}, {"transports": ["websocket"]}, {"withCredentials": True}], ids=str)
async def test_a_page_of_another_origin_does_not_get_in(
    synkora: ServerProcess, visitors: list[Visitor], options: dict[str, Any]
) -> None:
    """Not even with the cookie, which the browser sends from any port of the host, nor with a good token."""
    alice = visitors[0]
    async with WebApp().running() as elsewhere:
        await alice.open(elsewhere, ALICE, V4)
        await alice.start(f"http://localhost:{synkora.port}", {"auth": {"token": ALICE.token}, **options})
        await alice.expect("connect_error")
        assert "connect" not in [name for name, *_ in await alice.evaluate("received")]
        await alice.evaluate("void socket.disconnect()")
