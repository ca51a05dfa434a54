"""The sizes of projects that only other instances know."""

import asyncio
from functools import partial
from math import inf
from time import monotonic
from typing import Any, Final

from synkora.cluster.presence_scripts import Keys
from synkora.redis.link import Link

UNKNOWN: Final = 100  # connections; many edits may wait for a client's return, and are sent before Redis has answered
MAX_AGE: Final = 1.0  # seconds
LONGEST_AGE: Final = 60.0  # seconds
_MAX_KNOWN: Final = 10_000  # projects; then all are asked for again


class ProjectSizes:
    """The number of connections in each project, as Redis had it lately.

    A number is asked for again after `MAX_AGE`, and counts up to `LONGEST_AGE` meanwhile. A project has `UNKNOWN`
    connections until Redis has answered.
    """

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self._known: dict[str, tuple[float, int]] = {}  # when Redis has answered, and the number
        self._asked: set[str] = set()

    def get(self, project_id: str) -> int:
        """Return the number of connections in a project."""
        answered, size = self._known.get(project_id, (-inf, UNKNOWN))
        age = monotonic() - answered
        if age >= MAX_AGE and project_id not in self._asked and self._link.is_up:
            self._asked.add(project_id)
            call = self._link.call("HLEN", self._link.key(self._keys.project(project_id)))
            call.add_done_callback(partial(self._answered, project_id))
        return size if age < LONGEST_AGE else UNKNOWN

    def _answered(self, project_id: str, call: asyncio.Future[Any]) -> None:
        self._asked.discard(project_id)
        if call.exception() is not None:
            return
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[project_id] = (monotonic(), max(call.result() - 1, 0))  # one field is the version
