"""Sends presence to members: changes immediately, rosters at a bounded rate."""

import asyncio
from collections.abc import Mapping

from synkora.collaboration.payloads import UserJoined, UserLeft, UsersCount
from synkora.collaboration.pending_updates import (
    CHANGES_BYTES,
    CHANGES_RATE,
    DELIVERIES_RATE,
    ENCODING,
    LEAVES_RATE,
    MEMBER_RATE,
    ROSTER_CHUNK,
    ROSTER_RATE,
    ChangeBatch,
    PendingUpdates,
)
from synkora.collaboration.presence import Presence, PresenceEntry
from synkora.engine.message import Message
from synkora.engine.outbox import Outbox
from synkora.engine.state_updates import Update
from synkora.protocol.timestamps import now
from synkora.sockets import packets
from synkora.sockets.internals import adapter_of
from synkora.sockets.namespace import Namespace


class PresenceUpdates:
    """Decides which members get which presence updates, and when.

    Joins and leaves are sent immediately. Rosters and counts are sent at the end of the turn of the event loop, once
    for all changes of the turn. Updates above the rates are sent later, together with the changes until then.
    """

    def __init__(self, namespace: Namespace, presence: Presence) -> None:
        self._adapter = adapter_of(namespace)
        self._presence = presence
        self._pending: dict[str, PendingUpdates] = {}
        self._touched: dict[str, PendingUpdates] = {}
        self._joined, self._left, self._active, self._count = (
            packets.EventWriter(namespace.name, name, volatile=False)
            for name in ("user:joined", "user:left", "users:active", "users:count")
        )

    def send_roster(self, project_id: str, socket_id: str, *, with_count: bool = False) -> None:
        """Send the roster to a member; `with_count` sends the count too, where no change sends it."""
        recipients = self._touch(project_id).roster_recipients
        recipients[socket_id] = with_count or recipients.get(socket_id, False)

    def joined(self, project_id: str, entry: PresenceEntry) -> None:
        """Send the join of a connection to the other members."""
        payload = UserJoined(
            entry.socketId, entry.userId, entry.userName, entry.joinedAt, entry.joinedAt, entry.userImage
        )
        pending = self._change(project_id)
        update = self._joined.update(payload, pending)
        if pending.batch is not None:
            pending.batch.add_join(entry.socketId, update)
            self._bound(pending)
        else:
            self._relay_change(update, pending, skip=entry.socketId)

    def left(self, project_id: str, entry: PresenceEntry) -> None:
        """Send the leave of a connection to the remaining members."""
        pending = self._change(project_id)
        pending.left = True
        update = self._left.update(UserLeft(entry.socketId, entry.userId, entry.userName, now()), pending)
        if pending.batch is not None:
            pending.batch.add_leave(entry.socketId, update)
            self._bound(pending)
        else:
            self._relay_change(update, pending)

    def completed(self, project_id: str) -> None:
        """Send the roster, which has become complete, to the members that wait for it."""
        self._change(project_id)

    def full_state(self, pending: PendingUpdates, outbox: object) -> list[Message]:
        """Return roster and count, for a member whose updates were dropped; nothing for a socket that has left."""
        present = self._pending.get(pending.id)  # the project may have been empty in between
        socket_id = self._member(pending, outbox)
        if socket_id is None or present is None:
            return []
        if not self._presence.is_complete(present.id):
            present.roster_recipients[socket_id] = True
            return []
        present.roster_recipients.pop(socket_id, None)
        return [self._roster(present), self._counted(present)]

    def _member(self, pending: PendingUpdates, outbox: object) -> str | None:
        return next((sid for sid, candidate in self._members(pending).items() if candidate is outbox), None)

    def _has_recipient(self, pending: PendingUpdates, outbox: object) -> bool:
        return self._member(pending, outbox) is not None

    @staticmethod
    def _bound(pending: PendingUpdates) -> None:
        """Replace changes by the roster if the roster is smaller."""
        if pending.is_batch_too_large:
            pending.batch = ChangeBatch()
            pending.left = True

    def _members(self, pending: PendingUpdates) -> Mapping[str, Outbox]:
        return self._adapter.rooms.joined(pending.id)

    def _change(self, project_id: str) -> PendingUpdates:
        pending = self._touch(project_id)
        time = asyncio.get_running_loop().time()
        if pending.change_pace.due > time:
            pending.batch = pending.batch or ChangeBatch()
        elif pending.batch is None or not pending.changed:
            pending.batch = None
            pending.change_pace.spend(time, len(self._members(pending)) / DELIVERIES_RATE)
        pending.changed = True
        pending.roster = None
        return pending

    def _touch(self, project_id: str) -> PendingUpdates:
        if not self._touched:
            asyncio.get_running_loop().call_soon(self._send_touched)
        pending = self._pending.get(project_id)
        if pending is None:
            pending = self._pending[project_id] = PendingUpdates(project_id, self.full_state, self._has_recipient)
        self._touched[project_id] = pending
        return pending

    def _send_touched(self) -> None:
        touched, self._touched = self._touched, {}
        for pending in touched.values():
            if pending.timer is not None:
                pending.timer.cancel()
                pending.timer = None
            members = self._members(pending)
            if not members:
                del self._pending[pending.id]
            elif self._presence.is_complete(pending.id):
                self._send(pending, members)

    def _send(self, pending: PendingUpdates, members: Mapping[str, Outbox]) -> None:
        loop = asyncio.get_running_loop()
        time = loop.time()
        if pending.changed and pending.batch is not None and pending.change_pace.due > time:
            pending.timer = loop.call_at(pending.change_pace.due, self._touch, pending.id)
            return
        if pending.batch is not None:
            pending.batch.send(pending, members)
            pending.change_pace.spend(time, pending.batch.size * len(members) / CHANGES_BYTES)
            pending.batch = None
        if pending.left and pending.leave_pace.due <= time:
            pending.left = False
            pending.roster_recipients = dict.fromkeys(members, False) | pending.roster_recipients
            size = self._roster(pending).size
            pending.leave_pace.spend(time, max(size * len(members) / LEAVES_RATE, size / MEMBER_RATE))
        if pending.roster_recipients and pending.roster_pace.due <= time:
            self._send_rosters(pending, members, time)
        if pending.changed:
            pending.changed = False
            self._relay(self._counted(pending), pending)
            pending.change_pace.spend(time, len(members) / CHANGES_RATE)
        waits = [pending.roster_pace.due] * bool(pending.roster_recipients) + [pending.leave_pace.due] * pending.left
        if waits:
            pending.timer = loop.call_at(min(waits), self._touch, pending.id)

    def _send_rosters(self, pending: PendingUpdates, members: Mapping[str, Outbox], time: float) -> None:
        """Send the roster to waiting members, as many as one turn of the event loop allows."""
        cost = ENCODING if pending.roster is None else 0
        roster = self._roster(pending)
        chosen = list(pending.roster_recipients)[: max(ROSTER_CHUNK // roster.size, 1)]
        for socket_id in chosen:
            with_count = pending.roster_recipients.pop(socket_id) and not pending.changed
            outbox = members.get(socket_id)
            if outbox is not None:
                outbox.put(roster)
                if with_count:
                    outbox.put(self._counted(pending))
        pending.roster_pace.spend(time, (cost + len(chosen)) * roster.size / ROSTER_RATE)

    def _roster(self, pending: PendingUpdates) -> Update:
        if pending.roster is None:
            roster = self._presence.roster(pending.id)
            pending.roster = self._active.update(roster, pending, (pending, "users:active"))
            pending.roster_size = pending.roster.size
        return pending.roster

    def _counted(self, pending: PendingUpdates) -> Update:
        return self._count.update(UsersCount(self._presence.count(pending.id)), pending, (pending, "users:count"))

    def _relay_change(self, update: Update, pending: PendingUpdates, *, skip: str | None = None) -> None:
        cost = update.size * len(self._members(pending)) / CHANGES_BYTES
        pending.change_pace.spend(asyncio.get_running_loop().time(), cost)
        self._relay(update, pending, skip=skip)

    def _relay(self, update: Update, pending: PendingUpdates, *, skip: str | None = None) -> None:
        self._adapter.relay(update, pending.id, skip, local=True)
