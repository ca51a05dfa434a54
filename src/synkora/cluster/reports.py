"""What Redis is told of the projects, in few calls."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import ceil
from typing import Any, Final

from synkora.cluster.lease import InstanceLease
from synkora.cluster.presence_scripts import CHANGE, ENTER, Keys
from synkora.cluster.project import Project
from synkora.cluster.replica import SNAPSHOT, ReplicaSnapshot
from synkora.protocol.json import encode
from synkora.redis.link import Link, RedisRefused

_CALLS_AT_ONCE: Final = 64
_CHANGES_AT_ONCE: Final = 1000  # of one project, so that Redis is not held up


class Reports:
    """Tells Redis of the changes in `projects`, those of one turn in one project by one call.

    Each project has one call under way at most; what changes meanwhile goes into the next. `restored` is called with
    each snapshot, at its place among the announcements, and `answered` after each call that has not failed, or that
    Redis has refused: such a one is tried again with `retry`.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        lifetime: float,
        projects: Mapping[str, Project],
        registration: InstanceLease,
        *,
        restored: Callable[[Project, ReplicaSnapshot], None],
        answered: Callable[[Project], None],
    ) -> None:
        self._link = link
        self._keys = keys
        self._lifetime = ceil(lifetime)
        self._projects = projects
        self._registration = registration
        self._restored = restored
        self._answered = answered
        self._due: dict[str, None] = {}  # in this order
        self._refused: set[str] = set()
        self._calls = 0  # under way

    def add(self, project_id: str) -> None:
        """Redis is to hear of a project at the end of the turn, or as soon as can be."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._call_all)
        self._due[project_id] = None

    def retry(self) -> None:
        """Tell Redis again what it has refused."""
        for project_id in self._refused:
            self.add(project_id)
        self._refused.clear()

    def begin_again(self, entered: Iterable[str]) -> None:
        """Tell Redis of all projects as they are, and of those that it takes this instance to be in without reason."""
        self.clear()
        for project_id in (*self._projects, *entered):
            self.add(project_id)

    def clear(self) -> None:
        """Tell Redis nothing more, until `begin_again`."""
        self._due.clear()
        self._refused.clear()
        for project in self._projects.values():
            project.replica.is_outdated = True

    def _call_all(self) -> None:
        while self._due and self._calls < _CALLS_AT_ONCE and self._registration.is_valid:
            project_id = next(iter(self._due))
            del self._due[project_id]
            project = self._projects.get(project_id)
            if project is None:
                self._call(Project(project_id, self._link.uid))  # nobody is in it
            elif project.has_news and not project.is_asking:
                self._call(project)

    def _call(self, project: Project) -> None:
        replica, keys, uid = project.replica, self._keys, self._link.uid
        names = (keys.instances, keys.instance(uid), keys.project(project.id))
        args: list[bytes | str | int] = [uid, project.id, keys.channel(project.id), self._lifetime]
        if replica.is_outdated:
            project.left.clear()
            project.joined.clear()
            replica.await_snapshot()
            for entry in replica.own.values():
                args += (entry.socketId, encode(entry))
            call = self._link.run(ENTER, names, args, partial(self._entered, project))
        else:
            left, joined = project.take_news(_CHANGES_AT_ONCE)
            args += (int(bool(replica.own)), len(left), *left)
            for connection in joined:
                args += connection
            call = self._link.run(CHANGE, names, args, partial(self._changed, project))
        project.is_asking = project.is_entered = True
        self._calls += 1
        call.add_done_callback(partial(self._done, project))

    def _changed(self, project: Project, reply: Any) -> None:
        if reply is None:
            project.replica.is_outdated = True
            self._registration.lose()

    def _entered(self, project: Project, reply: Any) -> None:
        self._changed(project, reply)
        if reply is not None:
            self._restored(project, SNAPSHOT.decode(reply))

    def _done(self, project: Project, call: asyncio.Future[Any]) -> None:
        project.is_asking = False
        self._calls -= 1
        error = call.exception()
        if error is not None:
            project.replica.is_outdated = True
        if isinstance(error, RedisRefused):
            self._registration.refused(error)
            if project.replica.own or self._projects.get(project.id) is not project:
                self._refused.add(project.id)
            else:
                self._registration.lose()  # to learn later, from Redis, of what is to be taken out of it
        elif project.has_news and self._projects.get(project.id) is project:
            self.add(project.id)
        if error is None or isinstance(error, RedisRefused):
            self._answered(project)
        self._call_all()
