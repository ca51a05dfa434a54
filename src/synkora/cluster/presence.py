"""Presence over all instances that share a Redis."""

import asyncio
from collections.abc import Collection
from functools import partial
from math import ceil
from typing import Final

import structlog

from synkora.cluster.lease import InstanceLease, Timing
from synkora.cluster.presence_scripts import Keys
from synkora.cluster.project import Project
from synkora.cluster.replica import ANNOUNCEMENT, Changes, ReplicaSnapshot
from synkora.cluster.reports import Reports
from synkora.collaboration.presence import Occupancy, PresenceEntry, PresenceListener, Roster
from synkora.collaboration.project_presence import EMPTY, ProjectPresence
from synkora.engine.timeouts import TimeoutQueue
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.redis.link import Link

PREFIX: Final = "synkora:"

log = structlog.get_logger(__name__)


class RedisPresence:
    """Knows the connections of all instances.

    Of this instance's own connections it tells at once, of the others' as Redis announces them. A list is complete when
    Redis has answered, or has failed to. While Redis is away it goes on with this instance's own, as `Timing` says.
    """

    def __init__(self, link: Link, *, prefix: str = PREFIX, timing: Timing | None = None) -> None:
        self._link = link
        self._keys = keys = Keys(prefix)
        self._timing = timing = timing or Timing()
        self._listener: PresenceListener | None = None
        self._projects: dict[str, Project] = {}
        self._inhabited = 0  # of them: counted, since many ask
        self._waits = TimeoutQueue(timing.patience, self._complete)
        self._doubts = TimeoutQueue(timing.doubt, self._settle)
        self._absence: asyncio.TimerHandle | None = None
        self._unaudited: list[str] = []
        self._registration = InstanceLease(
            link, keys, timing, registered=self._begin_again, share=self._share, audit=self._audit
        )
        self._reports = Reports(
            link,
            keys,
            timing.lifetime,
            self._projects,
            self._registration,
            restored=self._restored,
            answered=self._answered,
        )

    @property
    def problem(self) -> str | None:
        """Why Redis does not do what it is asked, though it answers; None where it does."""
        return self._registration.problem

    def start(self) -> None:
        """Begin to beat, in the running loop; the link may be up before or come up later."""
        self._link.on_up.append(self._went_up)
        self._link.on_down.append(self._went_down)
        self._registration.start()

    async def close(self) -> None:
        """Tell all other instances that those of this one have left; here they stay until they leave."""
        self._link.on_up.remove(self._went_up)
        self._link.on_down.remove(self._went_down)
        await self._registration.close()
        self._waits.cancel()
        self._doubts.cancel()
        if self._absence is not None:
            self._absence.cancel()

    def listen(self, listener: PresenceListener) -> None:
        """Tell `listener` of all that changes."""
        self._listener = listener

    @property
    def project_count(self) -> int:
        """How many projects have a connection of this instance in them."""
        return self._inhabited

    @property
    def local_projects(self) -> list[str]:
        """The ids of those projects."""
        return [project.id for project in self._projects.values() if project.replica.own]

    def occupancy(self, project_id: str) -> Occupancy:
        """How many are in a project, on all instances."""
        project = self._projects.get(project_id)
        if project is None:
            return Occupancy(0, 0, False)
        attendance, own = project.replica.attendance, project.replica.own
        return Occupancy(attendance.count, len(attendance), attendance.smallest_id in own)

    def add_connection(self, project_id: str, entry: PresenceEntry) -> None:
        """Note that a connection of this instance has joined."""
        project = self._projects.get(project_id) or self._open(project_id)
        own = project.replica.own
        was_empty = not own
        has_joined = project.join(entry)
        self._inhabited += was_empty and bool(own)
        if has_joined:
            self._reports.add(project_id)
            if self._listener is not None:
                self._listener.joined(project_id, entry)

    def remove_connection(self, project_id: str, socket_id: str) -> None:
        """Note that it has left."""
        project = self._projects.get(project_id)
        if project is None:
            return
        own = project.replica.own
        was_inhabited = bool(own)
        entry = project.leave(socket_id)
        self._inhabited -= was_inhabited and not own
        if entry is None:
            return
        if self._listener is not None:
            self._listener.left(project_id, entry)
        if project.replica.own or (project.is_entered and self._link.is_up):
            self._reports.add(project_id)
        else:
            self._drop(project)

    def roster(self, project_id: str) -> Roster:
        """Everyone in a project, each user once, in the order of arrival."""
        return self._attendance(project_id).roster

    def count(self, project_id: str) -> int:
        """How many users are in a project."""
        return self._attendance(project_id).count

    def connections(self, project_id: str) -> int:
        """How many connections are in a project, on all instances."""
        return len(self._attendance(project_id))

    def is_complete(self, project_id: str) -> bool:
        """Whether Redis has told of the others, or cannot."""
        project = self._projects.get(project_id)
        return project is None or project.is_complete

    def _attendance(self, project_id: str) -> ProjectPresence:
        project = self._projects.get(project_id)
        return EMPTY if project is None else project.replica.attendance

    def _open(self, project_id: str) -> Project:
        project = self._projects[project_id] = Project(project_id, self._link.uid)
        self._link.subscribe(self._keys.channel(project_id), partial(self._heard, project))
        if self._link.is_up:
            self._waits.add(project_id)
        else:
            project.is_complete = True
        return project

    def _drop(self, project: Project) -> None:
        self._complete(project.id)
        self._doubts.drop(project.id)
        del self._projects[project.id]
        self._link.unsubscribe(self._keys.channel(project.id))

    # What Redis tells

    def _heard(self, project: Project, message: bytes) -> None:
        try:
            announcement = ANNOUNCEMENT.decode(message)
        except (ProtocolError, InvalidPayload) as error:
            log.warning("announcement_unreadable", projectId=project.id, problem=str(error))
            return
        self._tell(project, project.replica.heed(announcement))
        if project.replica.is_outdated:
            self._reports.add(project.id)

    def _restored(self, project: Project, snapshot: ReplicaSnapshot) -> None:
        if self._projects.get(project.id) is not project:
            return
        self._tell(project, project.replica.restore(snapshot))
        self._complete(project.id)
        if project.replica.is_in_doubt and project.id not in self._doubts:
            self._doubts.add(project.id)

    def _answered(self, project: Project) -> None:
        if self._projects.get(project.id) is project:
            self._complete(project.id)
            if not (project.replica.own or project.left):
                self._drop(project)

    def _audit(self, project_id: str, version: int) -> None:
        project = self._projects.get(project_id)
        if project is not None:
            project.replica.audit(version)
            if project.replica.is_outdated:
                self._reports.add(project_id)

    # Who is told

    def _tell(self, project: Project, changes: Changes) -> None:
        """Tell of others; before a list is complete, the list will."""
        if self._listener is None or not project.is_complete:
            return
        for entry in changes.left:
            self._listener.left(project.id, entry)
        for entry in changes.joined:
            self._listener.joined(project.id, entry)

    def _complete(self, project_id: str) -> None:
        """Wait no longer for the others of a project."""
        project = self._projects[project_id]
        if not project.is_complete:
            project.is_complete = True
            self._waits.drop(project_id)
            if self._listener is not None:
                self._listener.completed(project_id)

    def _settle(self, project_id: str) -> None:
        """Believe that those who have not come back with Redis are gone."""
        project = self._projects[project_id]
        self._tell(project, project.replica.settle())

    # Redis itself

    def _went_up(self) -> None:
        if self._absence is not None:
            self._absence.cancel()
        self._registration.hurry()

    def _went_down(self) -> None:
        self._registration.lose()
        self._reports.clear()
        for project in tuple(self._projects.values()):
            if project.replica.own:
                self._complete(project.id)
            else:
                self._drop(project)
        self._absence = asyncio.get_running_loop().call_later(self._timing.absence, self._forget_others)

    def _forget_others(self) -> None:
        for project in self._projects.values():
            self._tell(project, project.replica.forget_others())

    def _begin_again(self, entered: Collection[str]) -> None:
        self._reports.begin_again(entered)

    def _share(self, turns: int) -> list[str]:
        """Some of the projects, all of them in so many turns."""
        self._reports.retry()
        if not self._unaudited:
            self._unaudited = list(self._projects)
        size = ceil(len(self._projects) / max(turns, 1))
        share, self._unaudited = self._unaudited[:size], self._unaudited[size:]
        return [project_id for project_id in share if project_id in self._projects]
