"""Users in their own browsers, with a session cookie, on a page that does what the web app's pages do."""

import json
from typing import Any
from urllib.parse import urlencode

from tests.end_to_end.playground.visitors import Visitor
from tests.end_to_end.web_app import WebApp
from tests.support.positions import without_position
from tests.support.users import ALICE, BOB, PROJECT, User, npm_tokens

V4 = {"cookie": "next-auth.session-token", "by": "nextauth"}
V5 = {"cookie": "authjs.session-token", "by": "authjs", "salt": "authjs.session-token"}


class AppVisitor(Visitor):
    """A user in their own browser, on a page of the app."""

    async def visit(self, app: WebApp, user: User | None, session: dict[str, str]) -> None:
        """Open the page, with a session of `user` if given."""
        query = ""
        if user is not None:
            cookie = session["cookie"]
            [token] = npm_tokens([{"claims": {**user.claims, "sub": user.id}, **session}])
            query = urlencode({"session": token, "cookie": cookie})
        await self._chromium.ask("open", name=self._name, url=f"{app.origin}/?{query}")
        assert await self.evaluate("document.cookie") == ""

    async def evaluate(self, expression: str) -> Any:
        return await self._chromium.ask("evaluate", name=self._name, expression=expression)

    async def start(self, url: str | None, options: dict[str, Any]) -> None:
        await self.evaluate(f"start({json.dumps(url) if url else 'undefined'}, {json.dumps(options)})")

    async def enter(
        self, app: WebApp, user: User, url: str | None, options: dict[str, Any], session: dict[str, str]
    ) -> None:
        """Open the page, sign in by the cookie, and join the project."""
        await self.visit(app, user, session)
        # The page cannot read the cookie, and sends the user's id for a token.
        await self.start(url, {"auth": {"token": user.id}, **options})
        assert (await self.expect("connected"))[1]["userId"] == user.id
        await self.evaluate(f"void socket.emit('join-project', '{PROJECT}')")
        await self.expect("users:active")

    async def wait(self, expression: str) -> None:
        """Wait until an expression of the page is true."""
        await self._chromium.ask("wait", name=self._name, expression=expression)

    async def expect(self, name: str) -> list[Any]:
        """Wait for the first event of this name, and return it."""
        try:
            await self._chromium.ask(
                "wait", name=self._name, expression=f"received.some(([name]) => name === {json.dumps(name)})"
            )
        except AssertionError as error:
            raise AssertionError(f"no {name} in {await self.evaluate('received')}: {error} {self.console}") from None
        events: list[list[Any]] = await self.evaluate("received")
        return next(without_position(event) for event in events if event[0] == name)


async def collaborate(
    visitors: list[AppVisitor], app: WebApp, url: str | None, options: dict[str, Any], session: dict[str, str]
) -> str:
    """Let Alice and Bob sign in by their cookies and see each other's work. Returns Alice's final transport."""
    alice, bob = visitors
    await alice.enter(app, ALICE, url, options, session)
    await bob.enter(app, BOB, url, options, session)
    assert (await alice.expect("user:joined"))[1]["userName"] == "Bob"
    await bob.evaluate(f"void socket.emit('task:move', {{projectId: '{PROJECT}', taskId: 't1', status: 'DONE'}})")
    assert await alice.expect("task:move") == ["task:move", {"taskId": "t1", "status": "DONE"}]
    assert alice.console == bob.console == []
    transport: str = await alice.evaluate("socket.io.engine.transport.name")
    return transport
