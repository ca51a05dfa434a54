"""Sends presence to members: changes immediately, rosters at a bounded rate."""

import asyncio
from collections.abc import Mapping

from synkora.collaboration.payloads import UserJoined, UserLeft, UsersCount
from synkora.collaboration.presence import Presence, PresenceEntry
from synkora.collaboration.unsent_presence import (
    CHANGES_BYTES,
    CHANGES_RATE,
    DELIVERIES_RATE,
    ENCODING,
    LEAVES_RATE,
    MEMBER_RATE,
    ROSTER_CHUNK,
    ROSTER_RATE,
    ChangeBatch,
    UnsentPresence,
)
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
        self._unsent: dict[str, UnsentPresence] = {}
        self._touched: dict[str, UnsentPresence] = {}
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
        unsent = self._change(project_id)
        update = self._joined.update(payload, unsent)
        if unsent.batch is not None:
            unsent.batch.add_join(entry.socketId, update)
            self._bound(unsent)
        else:
            self._relay_change(update, unsent, skip=entry.socketId)

    def left(self, project_id: str, entry: PresenceEntry) -> None:
        """Send the leave of a connection to the remaining members."""
        unsent = self._change(project_id)
        unsent.left = True
        update = self._left.update(UserLeft(entry.socketId, entry.userId, entry.userName, now()), unsent)
        if unsent.batch is not None:
            unsent.batch.add_leave(entry.socketId, update)
            self._bound(unsent)
        else:
            self._relay_change(update, unsent)

    def completed(self, project_id: str) -> None:
        """Send the roster, which has become complete, to the members that wait for it."""
        self._change(project_id)

    def full_state(self, unsent: UnsentPresence, outbox: object) -> list[Message]:
        """Return roster and count, for a member whose updates were dropped; nothing for a socket that has left.

        Above the rate of rosters, or before the roster is complete, they are sent later.
        """
        present = self._unsent.get(unsent.id)  # the project may have been empty in between
        socket_id = self._member(unsent, outbox)
        if socket_id is None or present is None:
            return []
        time = asyncio.get_running_loop().time()
        if present.roster_pace.due > time or not self._presence.is_complete(present.id):
            self.send_roster(present.id, socket_id, with_count=True)
            return []
        present.roster_recipients.pop(socket_id, None)
        roster = self._roster(present)
        present.roster_pace.spend(time, roster.size / ROSTER_RATE)
        return [roster, self._counted(present)]

    def _member(self, unsent: UnsentPresence, outbox: object) -> str | None:
        members = self._members(unsent)
        if unsent.socket_ids is None:  # for all clients that ask in this turn: they may be very many
            unsent.socket_ids = {each: socket_id for socket_id, each in members.items()}
            asyncio.get_running_loop().call_soon(setattr, unsent, "socket_ids", None)
        socket_id = unsent.socket_ids.get(outbox)
        return socket_id if socket_id is not None and members.get(socket_id) is outbox else None

    def _has_recipient(self, unsent: UnsentPresence, outbox: object) -> bool:
        return self._member(unsent, outbox) is not None

    @staticmethod
    def _bound(unsent: UnsentPresence) -> None:
        """Replace changes by the roster if the roster is smaller."""
        if unsent.is_batch_too_large:
            unsent.batch = ChangeBatch()
            unsent.left = True

    def _members(self, unsent: UnsentPresence) -> Mapping[str, Outbox]:
        return self._adapter.rooms.joined(unsent.id)

    def _change(self, project_id: str) -> UnsentPresence:
        unsent = self._touch(project_id)
        time = asyncio.get_running_loop().time()
        if unsent.change_pace.due > time:
            unsent.batch = unsent.batch or ChangeBatch()
        elif unsent.batch is None or not unsent.changed:
            unsent.batch = None
            unsent.change_pace.spend(time, len(self._members(unsent)) / DELIVERIES_RATE)
        unsent.changed = True
        unsent.roster = None
        return unsent

    def _touch(self, project_id: str) -> UnsentPresence:
        if not self._touched:
            asyncio.get_running_loop().call_soon(self._send_touched)
        unsent = self._unsent.get(project_id)
        if unsent is None:
            unsent = self._unsent[project_id] = UnsentPresence(project_id, self.full_state, self._has_recipient)
        self._touched[project_id] = unsent
        return unsent

    def _send_touched(self) -> None:
        touched, self._touched = self._touched, {}
        for unsent in touched.values():
            if unsent.timer is not None:
                unsent.timer.cancel()
                unsent.timer = None
            members = self._members(unsent)
            if not members:
                del self._unsent[unsent.id]
            elif self._presence.is_complete(unsent.id):
                self._send(unsent, members)

    def _send(self, unsent: UnsentPresence, members: Mapping[str, Outbox]) -> None:
        loop = asyncio.get_running_loop()
        time = loop.time()
        if unsent.changed and unsent.batch is not None and unsent.change_pace.due > time:
            unsent.timer = loop.call_at(unsent.change_pace.due, self._touch, unsent.id)
            return
        if unsent.batch is not None:
            unsent.batch.send(unsent, members)
            unsent.change_pace.spend(time, unsent.batch.size * len(members) / CHANGES_BYTES)
            unsent.batch = None
        if unsent.left and unsent.leave_pace.due <= time:
            unsent.left = False
            unsent.roster_recipients = dict.fromkeys(members, False) | unsent.roster_recipients
            size = self._roster(unsent).size
            unsent.leave_pace.spend(time, max(size * len(members) / LEAVES_RATE, size / MEMBER_RATE))
        if unsent.roster_recipients and unsent.roster_pace.due <= time:
            self._send_rosters(unsent, members, time)
        if unsent.changed:
            unsent.changed = False
            self._relay(self._counted(unsent), unsent)
            unsent.change_pace.spend(time, len(members) / CHANGES_RATE)
        waits = [unsent.roster_pace.due] * bool(unsent.roster_recipients) + [unsent.leave_pace.due] * unsent.left
        if waits:
            unsent.timer = loop.call_at(min(waits), self._touch, unsent.id)

    def _send_rosters(self, unsent: UnsentPresence, members: Mapping[str, Outbox], time: float) -> None:
        """Send the roster to waiting members, as many as one turn of the event loop allows."""
        cost = ENCODING if unsent.roster is None else 0
        roster = self._roster(unsent)
        chosen = list(unsent.roster_recipients)[: max(ROSTER_CHUNK // roster.size, 1)]
        for socket_id in chosen:
            with_count = unsent.roster_recipients.pop(socket_id) and not unsent.changed
            outbox = members.get(socket_id)
            if outbox is not None:
                outbox.put(roster)
                if with_count:
                    outbox.put(self._counted(unsent))
        unsent.roster_pace.spend(time, (cost + len(chosen)) * roster.size / ROSTER_RATE)

    def _roster(self, unsent: UnsentPresence) -> Update:
        if unsent.roster is None:
            roster = self._presence.roster(unsent.id)
            unsent.roster = self._active.update(roster, unsent, (unsent, "users:active"))
            unsent.roster_size = unsent.roster.size
        return unsent.roster

    def _counted(self, unsent: UnsentPresence) -> Update:
        return self._count.update(UsersCount(self._presence.count(unsent.id)), unsent, (unsent, "users:count"))

    def _relay_change(self, update: Update, unsent: UnsentPresence, *, skip: str | None = None) -> None:
        cost = update.size * len(self._members(unsent)) / CHANGES_BYTES
        unsent.change_pace.spend(asyncio.get_running_loop().time(), cost)
        self._relay(update, unsent, skip=skip)

    def _relay(self, update: Update, unsent: UnsentPresence, *, skip: str | None = None) -> None:
        self._adapter.relay(update, unsent.id, skip, local=True)
