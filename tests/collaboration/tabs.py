"""Tabs of the app that return after a lost connection."""

from typing import Any

from tests.collaboration.guarded import settle
from tests.collaboration.site import Site, token_of
from tests.support.page import Page, without_offsets

PRESENCE = ("user:joined", "user:left", "users:active", "users:count")


class Tab(Page):
    """A tab of the app that joins its projects only when it opens."""

    def __init__(self, site: Site, name: str) -> None:
        super().__init__(site.server)
        self._token = token_of(name)

    async def open(self, *projects: str) -> "Tab":
        await self.come()
        for project in projects or ("p",):
            self.emit("join-project", project)
        await settle()
        await self.read()
        self.events.clear()
        return self

    async def come(self, **auth: object) -> "Tab":
        await super().come(**{"token": self._token, **auth})
        await settle()
        await self.read()
        return self

    async def restore(self, **auth: object) -> list[list[Any]]:
        """Connect and be recovered. Returns the others' edits."""
        await self.come(**auth)
        assert self.recovered
        return await self.edits()

    async def take(self, *names: str) -> list[list[Any]]:
        """The events with these names. All events are cleared."""
        await self.read()
        found = [event for event in self.events if event[0] in names]
        self.events.clear()
        return found

    async def edits(self) -> list[list[Any]]:
        """The relayed edits of others. All events are cleared."""
        await self.read()
        found = [event for event in self.events if event[0] not in (*PRESENCE, "connected", "error")]
        self.events.clear()
        return without_offsets(found)

    async def create(self, task: str, project: str = "p") -> None:
        self.emit("task:create", {"projectId": project, "task": {"id": task}})
        await self.read()


async def two(site: Site, *projects: str) -> tuple[Tab, Tab]:
    """Ann and Bob have joined. Their received events are cleared."""
    ann, bob = await Tab(site, "Ann").open(*projects), await Tab(site, "Bob").open(*projects)
    await ann.read()
    ann.events.clear()
    return ann, bob


async def one_lost(site: Site, *projects: str) -> tuple[Tab, Tab]:
    """Ann and Bob have joined, and Ann has lost her connection."""
    ann, bob = await two(site, *projects)
    await ann.lose()
    return ann, bob
