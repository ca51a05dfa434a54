"""Presence over all instances that share a Redis."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from math import ceil
from typing import Any, Final

import structlog

from synkora.cluster.lease import InstanceLease, Timing
from synkora.cluster.presence_scripts import CHANGE, ENTER, Keys
from synkora.cluster.project_sizes import ProjectSizes
from synkora.cluster.project_sync import ProjectSync, SyncEvent, SyncState
from synkora.cluster.replica import ANNOUNCEMENT, SNAPSHOT, Changes
from synkora.collaboration.presence import Occupancy, PresenceEntry, PresenceListener, Roster
from synkora.collaboration.project_presence import EMPTY, ProjectPresence
from synkora.engine.logs import fault
from synkora.engine.timeouts import TimeoutQueue
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import encode
from synkora.redis.link import Link, LinkDown, RedisRefused

PREFIX: Final = "synkora:"
_CALLS_AT_ONCE: Final = 64
#: Bytes of calls that are sent before Redis answers the first of them. Those for very many members are more than a link
#: may hold: the link would end each time.
_BYTES_AT_ONCE: Final = 1_000_000
#: Connections in a snapshot that is asked for beside others. Redis ends a connection that has 32 MB of answers unread.
_MOST_BESIDE: Final = 80
_NO_LIST: Final = -2
_LARGE: Final = b"large"
_CHANGES_AT_ONCE: Final = 1000  # of one project, so that Redis is not blocked
_GOODBYE_WITHIN: Final = 2.0  # seconds

log = structlog.get_logger(__name__)


class PresenceSync:
    """Presence of all instances. Writes the connections of this instance to Redis.

    The listener gets changes of this instance's connections at once, and changes of others when Redis announces them. A
    list is complete when Redis has answered or failed. While Redis is unavailable, presence continues with this
    instance's connections, as `Timing` describes. With `webhooks` the same scripts queue the events for the app's
    backend: all instances should have them.

    Each project follows the table of `SyncState`, and has at most one pending call to Redis: later changes go into the
    next call. All calls need a valid lease.
    """

    def __init__(
        self,
        link: Link,
        *,
        prefix: str = PREFIX,
        timing: Timing | None = None,
        stopped: Collection[str] = (),
        webhooks: bool = False,
    ) -> None:
        self.problem: str | None = None  # why Redis refuses commands, although it answers
        self._link = link
        self._webhooks = webhooks
        self._stopped = stopped  # instances that have announced their stop
        self._keys = keys = Keys(prefix)
        self._timing = timing = timing or Timing()
        self._lease = InstanceLease(link, keys, timing, webhooks=webhooks)
        self._listener: PresenceListener | None = None
        self._projects: dict[str, ProjectSync] = {}
        self._sizes = ProjectSizes(link, keys)
        self._inhabited = 0  # projects with a connection; counted, since it is read often
        self._incomplete = TimeoutQueue(timing.timeout, self._completed)
        self._doubts = TimeoutQueue(timing.doubt, self._settle)
        self._absence: asyncio.TimerHandle | None = None
        # Calls
        self._due: OrderedDict[str, None] = OrderedDict()  # in this order; a dict is slow to lose its first key
        self._failed: set[str] = set()  # refused, or with an unreadable snapshot: retried with the next beat
        self._calls = 0  # pending
        self._in_flight = 0  # bytes of the pending calls
        # Renewal of the lease
        self._unaudited: list[str] = []
        self._was_refused = False  # since the last beat
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to renew the lease, in the running loop. The link may come up before or after."""
        self._link.on_up.append(self._went_up)
        self._link.on_down.append(self._went_down)
        self._task = asyncio.get_running_loop().create_task(self._keep_beating())

    async def close(self, *, may_return: bool = False) -> None:
        """Remove this instance's connections from Redis. Locally they stay until they leave.

        If clients `may_return`, their connections stay until this instance's lease has ended.
        """
        self._link.on_up.remove(self._went_up)
        self._link.on_down.remove(self._went_down)
        self._lease.is_valid = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        if not may_return:
            with suppress(LinkDown, RedisRefused, TimeoutError):
                async with asyncio.timeout(_GOODBYE_WITHIN):
                    await self._lease.give_up()
        self._incomplete.cancel()
        self._doubts.cancel()
        if self._absence is not None:
            self._absence.cancel()

    # Reading

    @property
    def project_count(self) -> int:
        """The number of projects with a connection of this instance."""
        return self._inhabited

    @property
    def local_projects(self) -> list[str]:
        """The ids of the projects with a connection of this instance."""
        return [project.id for project in self._projects.values() if project.replica.own]

    def occupancy(self, project_id: str) -> Occupancy:
        """Return the number of users and connections in a project, on all instances."""
        project = self._projects.get(project_id)
        if project is None:
            return Occupancy(0, 0, False)
        presence, own = project.replica.presence, project.replica.own
        return Occupancy(presence.count, len(presence), presence.smallest_id in own)

    def roster(self, project_id: str) -> Roster:
        """Return the users in a project, each once, in order of arrival."""
        return self._attendance(project_id).roster

    def count(self, project_id: str) -> int:
        """Return the number of users in a project."""
        return self._attendance(project_id).count

    def connections(self, project_id: str) -> int:
        """Return the number of connections in a project, on all instances: what an event for the project costs.

        Connections of other instances count too if this instance has none, or has not got their list yet.
        """
        project = self._projects.get(project_id)
        if project is None or project_id in self._incomplete:
            return self._sizes.get(project_id)
        return len(project.replica.presence)

    def is_complete(self, project_id: str) -> bool:
        """Whether Redis has answered with the other connections, or has failed."""
        return project_id not in self._incomplete

    def _attendance(self, project_id: str) -> ProjectPresence:
        project = self._projects.get(project_id)
        return EMPTY if project is None else project.replica.presence

    # Changes of this instance

    def listen(self, listener: PresenceListener) -> None:
        """Report all changes to `listener`."""
        self._listener = listener

    def add_connection(self, project_id: str, entry: PresenceEntry) -> None:
        """Add a connection of this instance."""
        project = self._projects.get(project_id) or self._open(project_id)
        own = project.replica.own
        was_empty = not own
        is_known = project.replica.presence.get(entry.socketId) is not None
        has_joined = project.join(entry)
        self._inhabited += was_empty and bool(own)
        if has_joined:
            self._plan_call(project_id)
            if self._listener is not None and not is_known:
                self._listener.joined(project_id, entry)

    def hold_connection(self, project_id: str, socket_id: str) -> None:
        """Mark a connection as lost: its client may return to this or another instance."""
        project = self._projects.get(project_id)
        if project is not None:
            project.replica.hold(socket_id)

    def remove_connection(self, project_id: str, socket_id: str) -> None:
        """Remove a connection of this instance."""
        project = self._projects.get(project_id)
        if project is None:
            return
        own = project.replica.own
        was_inhabited = bool(own)
        has_moved = socket_id in project.replica.moved
        entry = project.leave(socket_id)
        self._inhabited -= was_inhabited and not own
        if entry is None:
            return
        if has_moved:
            if not own:
                self._drop(project)
                self._plan_call(project_id)  # no connection of this instance is left
            return
        if self._listener is not None:
            self._listener.left(project_id, entry)
        if own or (project.state is not SyncState.NEW and self._link.is_up):
            self._plan_call(project_id)
        else:
            self._drop(project)

    def _open(self, project_id: str) -> ProjectSync:
        project = self._projects[project_id] = ProjectSync(project_id, self._link.uid)
        self._link.subscribe(self._keys.channel(project_id), partial(self._heard, project))
        if self._link.is_up:
            self._incomplete.add(project_id)
        return project

    def _drop(self, project: ProjectSync) -> None:
        self._incomplete.drop(project.id)
        self._completed(project.id)  # the listener drops what it keeps of the project
        self._doubts.drop(project.id)
        del self._projects[project.id]
        self._link.unsubscribe(self._keys.channel(project.id))

    # Messages of Redis

    def _heard(self, project: ProjectSync, message: bytes) -> None:
        try:
            announcement = ANNOUNCEMENT.decode(message)
        except (ProtocolError, InvalidPayload) as error:
            log.warning("announcement_unreadable", projectId=project.id, problem=str(error))
            return
        changes = project.replica.heed(announcement)
        self._tell(project, changes)
        self._check(project, has_gap=changes.has_gap)

    def _audit(self, project_id: str, version: int) -> None:
        project = self._projects.get(project_id)
        if project is not None:
            self._check(project, has_gap=not project.replica.agrees_with(version))

    def _check(self, project: ProjectSync, *, has_gap: bool) -> None:
        if has_gap:
            project.move(SyncEvent.LOSE_TRACK)
        if project.needs_snapshot and project.id not in self._failed:
            self._plan_call(project.id)

    def _entered(self, project: ProjectSync, reply: Any) -> None:
        """Apply a snapshot, in order among the announcements."""
        self._changed(reply)
        project.is_large = reply == _LARGE
        if reply is None or project.is_large or self._projects.get(project.id) is not project:
            return
        try:
            snapshot = SNAPSHOT.decode(reply)
        except (ProtocolError, InvalidPayload) as error:
            log.warning("snapshot_unreadable", projectId=project.id, problem=str(error))
            project.move(SyncEvent.LOSE_TRACK)
            self._failed.add(project.id)
            return
        self._tell(project, project.replica.restore(snapshot))
        self._complete(project.id)
        if project.replica.is_in_doubt and project.id not in self._doubts:
            self._doubts.add(project.id)

    def _changed(self, reply: Any) -> None:
        if reply is None:
            self._lease.is_valid = False

    # Reports to the listener

    def _tell(self, project: ProjectSync, changes: Changes) -> None:
        """Report changes of other instances, unless the list is incomplete: the complete list will contain them."""
        if self._listener is None or not self.is_complete(project.id):
            return
        for entry in changes.left:
            self._listener.left(project.id, entry)
        for entry in changes.joined:
            self._listener.joined(project.id, entry)

    def _complete(self, project_id: str) -> None:
        """Stop waiting for the other connections of a project."""
        if project_id in self._incomplete:
            self._incomplete.drop(project_id)
            self._completed(project_id)

    def _completed(self, project_id: str) -> None:
        if self._listener is not None:
            self._listener.completed(project_id)

    def _settle(self, project_id: str) -> None:
        """Remove the members that have not returned since Redis reconnected."""
        project = self._projects[project_id]
        self._tell(project, project.replica.settle())

    # Calls to Redis

    def _plan_call(self, project_id: str) -> None:
        """Schedule a call for a project, at the end of the turn or as soon as possible."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._call_all)
        self._due[project_id] = None

    def _call_all(self) -> None:
        while self._due and self._calls < _CALLS_AT_ONCE and self._in_flight < _BYTES_AT_ONCE and self._lease.is_valid:
            project_id, _ = self._due.popitem(last=False)
            project = self._projects.get(project_id)
            if project is None:
                project = ProjectSync(project_id, self._link.uid)  # without connections
                project.is_large = True
                self._call(project)
            elif project.has_news and not project.is_calling:
                self._call(project)

    def _call(self, project: ProjectSync) -> None:
        keys, uid = self._keys, self._link.uid
        names = [keys.instances, keys.instance(uid), keys.project(project.id)]
        if self._webhooks:
            names += (keys.users(project.id), keys.webhooks, keys.webhook_state)
        args: list[bytes | str | int] = [uid, project.id, keys.channel(project.id), ceil(self._timing.lifetime)]
        answered: Callable[[Any], None]
        if project.needs_snapshot:
            script, answered = ENTER, partial(self._entered, project)
            is_open = self._projects.get(project.id) is project
            args.append((-1 if project.is_large else _MOST_BESIDE) if is_open else _NO_LIST)
            expects_much = project.is_large and is_open
            for entry in project.enter():
                args += (entry.socketId, encode(entry), int(entry.socketId in project.replica.held))
        else:
            script, answered, expects_much = CHANGE, self._changed, project.is_large
            left, joined = project.change(_CHANGES_AT_ONCE)
            args += (int(bool(project.replica.own)), len(left), *left)
            for connection in joined:
                args += connection
        size = sum(len(each) for each in (*names, *args) if not isinstance(each, int))
        if expects_much:
            size += _BYTES_AT_ONCE  # no other call beside it
        self._failed.discard(project.id)
        self._calls += 1
        self._in_flight += size
        self._link.run(script, names, args, answered).add_done_callback(partial(self._call_ended, project, size))

    def _call_ended(self, project: ProjectSync, size: int, call: asyncio.Future[Any]) -> None:
        self._calls -= 1
        self._in_flight -= size
        error = call.exception()
        is_too_large = error is None and call.result() == _LARGE
        is_done = error is None and call.result() is not None and not is_too_large
        project.move(SyncEvent.ANSWER if is_done else SyncEvent.FAIL)
        is_open = self._projects.get(project.id) is project
        if isinstance(error, RedisRefused):
            self._note_refusal(error)
            if project.replica.own or not is_open:
                self._failed.add(project.id)
            else:
                self._lease.is_valid = False  # the next registration returns the projects to leave
        elif project.has_news and is_open and project.id not in self._failed:
            self._plan_call(project.id)
        if is_open and not is_too_large and not isinstance(error, LinkDown):
            self._complete(project.id)
            if not (project.replica.own or project.left):
                self._drop(project)
        self._call_all()

    def _note_refusal(self, error: RedisRefused) -> None:
        self._was_refused = True
        if self.problem != str(error):
            self.problem = str(error)
            log.warning("presence_refused", problem=self.problem)

    # Renewal of the lease

    async def _keep_beating(self) -> None:
        while True:
            self._awake.clear()
            if self._link.is_up:
                try:
                    await self._beat()
                except LinkDown:
                    pass  # the link reports it
                except RedisRefused as error:
                    self._note_refusal(error)
                except Exception as error:  # noqa: BLE001  # a bug: without renewals all members would be removed
                    log.error("beat_failed", **fault(error))
                if not self._was_refused:
                    self.problem = None
                self._was_refused = False
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timing.beat):
                    await self._awake.wait()

    async def _beat(self) -> None:
        lease = self._lease
        dead: list[str] | None = None
        if lease.is_valid:
            for project_id in self._failed:
                self._plan_call(project_id)
            self._failed.clear()
            dead = await lease.renew(self._take_share(), self._audit)
        if dead is None:
            dead = await lease.register(self._begin_again)
        if not lease.is_fresh:
            for instance in dead:
                if instance not in self._stopped:
                    log.warning("instance_gone", instance=instance)
                await lease.reap(instance)

    def _take_share(self) -> list[str]:
        """Return the next projects to renew. All projects are renewed before the keys of the first expire."""
        if not self._unaudited:
            self._unaudited = list(self._projects)
        size = ceil(len(self._projects) / self._timing.beats_between_renewals)
        share, self._unaudited = self._unaudited[:size], self._unaudited[size:]
        return [project_id for project_id in share if project_id in self._projects]

    def _begin_again(self, entered: Iterable[str]) -> None:
        """Schedule calls for all projects, and for the `entered` ones in which this instance has no connection."""
        self._lose_track()
        for project_id in (*self._projects, *entered):
            self._plan_call(project_id)

    def _lose_track(self) -> None:
        self._due.clear()
        self._failed.clear()
        for project in self._projects.values():
            project.move(SyncEvent.LOSE_TRACK)

    # Redis itself

    def _went_up(self) -> None:
        if self._absence is not None:
            self._absence.cancel()
        self._awake.set()

    def _went_down(self) -> None:
        self._lease.is_valid = False
        self._lose_track()
        for project in tuple(self._projects.values()):
            if project.replica.own:
                self._complete(project.id)
            else:
                self._drop(project)
        self._absence = asyncio.get_running_loop().call_later(self._timing.absence, self._forget_others)

    def _forget_others(self) -> None:
        for project in self._projects.values():
            self._tell(project, project.replica.forget_others())
