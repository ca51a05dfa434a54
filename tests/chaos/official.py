"""A user at work in the web app, with the app's own client."""

import asyncio
import random
import time
from contextlib import suppress
from typing import Any

from tests.chaos.place import Place
from tests.chaos.record import Connection
from tests.chaos.site import Site
from tests.support.node_process import Message, NodeProcess
from tests.support.real_clients import APP_OPTIONS
from tests.support.users import User


class OfficialPage:
    """A socket.io-client that stays with one instance and reconnects by itself. Otherwise as `Page`."""

    def __init__(
        self, site: Site, place: Place, user: User, project: str, chance: random.Random, node: NodeProcess
    ) -> None:
        self.is_calm = False
        self.since = 0.0
        self.vanished = 0.0
        self._site, self._place, self._node = site, place, node
        self._user, self._project, self._chance = user, project, chance
        self._connection: Connection | None = None
        self._name = node.listen(self._heard)

    @property
    def is_settled(self) -> bool:
        """Whether it is connected and in its project, as far as it knows."""
        return self._connection is not None and self._connection.visit is not None

    async def run(self) -> None:
        options = {
            **APP_OPTIONS,
            "reconnectionDelayMax": 2000,
            "auth": {"token": self._user.token},
            "transports": ["websocket"],
            "timeout": 3000,
        }
        self._node.order("open", name=self._name, url=f"http://127.0.0.1:{self._place.port}", options=options)
        try:
            while True:
                await asyncio.sleep(self._chance.uniform(0.3, 0.9))
                connection = self._connection
                visit = None if connection is None else connection.visit
                if visit is not None and visit.confirmed < time.monotonic() and not self.is_calm:
                    self._work(visit.connection)
        finally:
            with suppress(OSError):
                self._node.order("close", name=self._name)

    def _work(self, connection: Connection) -> None:
        message = connection.send(time.monotonic())
        payload = {"projectId": message.project, "taskId": message.id, "status": "done"}
        self._node.order("emit", name=self._name, event=["task:move", payload])

    def _heard(self, told: Message) -> None:
        if "event" in told:
            # What the client has kept while it was disconnected it sends before it joins again: that is refused.
            if self._connection is not None and told["event"][0] != "error":
                self._connection.take(told["event"], time.monotonic())
        else:
            self._change(told["change"])

    def _change(self, change: list[Any]) -> None:
        now = time.monotonic()
        if self._connection is not None:
            self._connection.end(now)
            self._connection = None
        if change[0] == "connect":
            self._connection = Connection(self._site.book, self._user.id, self._place.life, change[1])
            self._connection.enter(self._project, now)
            self.since = now
            self._node.order("emit", name=self._name, event=["join-project", self._project])
