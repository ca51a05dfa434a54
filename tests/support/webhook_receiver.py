"""A backend that receives webhooks, over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OK = 204


class Received(NamedTuple):
    """A request that has been received whole."""

    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = json.loads(self.body)["events"]
        return events


class WebhookReceiver:
    """Answers each request with the next of `statuses`, then with 204, and keeps what it has taken with a 2xx."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self.requests: list[Received] = []
        self.taken: list[Received] = []
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}  # of the answers
        self.text = ""  # of the answers
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def receive(self, request: web.Request) -> web.Response:
        received = Received({name.lower(): value for name, value in request.headers.items()}, await request.read())
        self.requests.append(received)
        await self.may_answer.wait()
        status = self.statuses.pop(0) if self.statuses else OK
        if 200 <= status < 300:
            self.taken.append(received)
        return web.Response(status=status, headers=self.headers, text=self.text or None)

    @property
    def events(self) -> list[tuple[str, str, str | None]]:
        """The type, project and user of each event that was taken."""
        events = (event for received in self.taken for event in received.events)
        return [(each["type"], each["data"]["projectId"], each["data"].get("userId")) for each in events]


@asynccontextmanager
async def receiving(port: int) -> AsyncIterator[WebhookReceiver]:
    """Run a receiver on this port."""
    receiver = WebhookReceiver(port)
    app = web.Application()
    app.router.add_post("/hook", receiver.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield receiver
    finally:
        receiver.may_answer.set()
        await runner.cleanup()
