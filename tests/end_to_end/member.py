"""A user whose page stays open during restarts of the server."""

import asyncio
from typing import Any

from tests.support.node_process import NodeProcess
from tests.support.real_clients import Client, Way
from tests.support.users import PROJECT, User


class Member(Client):
    """A client that joins a project after every connect, as the app's pages do, and keeps its events."""

    def __init__(self, user: User, way: Way, node: NodeProcess, *, project: str = PROJECT) -> None:
        super().__init__(user.name, way, node)
        self.user = user
        self.project = project
        self.ids: list[str] = []  # one for each time that it has connected
        self._joining: set[asyncio.Task[None]] = set()

    def changed(self, change: list[Any]) -> None:
        """Record the connection's state, and join after each connect."""
        super().changed(change)
        if change[0] == "connect":
            self.ids.append(change[1])
            joining = asyncio.create_task(self.emit("join-project", self.project))
            self._joining.add(joining)
            joining.add_done_callback(self._joining.discard)

    @property
    def sees(self) -> set[str]:
        """The ids of the project's users that it knows, including its own."""
        users: set[str] = set()
        for name, *args in self.events.items:
            if name == "users:active":
                users = {user["userId"] for user in args[0]["users"]}
            elif name == "user:joined":
                users.add(args[0]["userId"])
        return users

    @property
    def counted(self) -> int:
        return next((int(args[0]["count"]) for name, *args in reversed(self.events.items) if name == "users:count"), 0)

    def got(self, name: str) -> list[Any]:
        return [args[0] for event, *args in self.events.items if event == name]

    def left(self, socket_id: str) -> int:
        """The number of `user:left` events of a connection."""
        return sum(gone["socketId"] == socket_id for gone in self.got("user:left"))
