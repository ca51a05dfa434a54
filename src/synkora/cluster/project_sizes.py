"""The sizes of projects that only other instances know."""

import asyncio
from functools import partial
from time import monotonic
from typing import Any, Final

from synkora.cluster.presence_scripts import Keys
from synkora.redis.link import Link

UNKNOWN: Final = 1000  # connections
MAX_AGE: Final = 1.0  # seconds
_MAX_KNOWN: Final = 10_000  # projects; then all are asked for again


class ProjectSizes:
    """The number of connections in each project, as Redis had it within `MAX_AGE`.

    A project has `UNKNOWN` connections until Redis has answered: an event counts as one for a large project.
    """

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self._known: dict[str, tuple[float, int]] = {}  # the end of a number's age, and the number
        self._asked: set[str] = set()

    def get(self, project_id: str) -> int:
        """Return the number of connections in a project."""
        until, size = self._known.get(project_id, (0.0, 0))
        if monotonic() < until:
            return size
        if project_id not in self._asked and self._link.is_up:
            self._asked.add(project_id)
            call = self._link.call("HLEN", self._link.key(self._keys.project(project_id)))
            call.add_done_callback(partial(self._answered, project_id))
        return UNKNOWN

    def _answered(self, project_id: str, call: asyncio.Future[Any]) -> None:
        self._asked.discard(project_id)
        if call.exception() is not None:
            return
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[project_id] = (monotonic() + MAX_AGE, max(call.result() - 1, 0))  # one field is the version
