"""Tells members of presence: changes at once, lists at a bounded rate."""

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
    SERVED_AT_ONCE,
    SERVED_RATE,
    ChangeBatch,
    PendingUpdates,
)
from synkora.collaboration.presence import Presence, PresenceEntry
from synkora.engine.message import Message
from synkora.engine.outbox import Outbox
from synkora.engine.updates import Update
from synkora.protocol.timestamps import now
from synkora.sockets import packets
from synkora.sockets.internals import adapter_of
from synkora.sockets.namespace import Namespace


class PresenceUpdates:
    """Who is told what of presence, and when.

    Who came or went is told at once. Lists and counts are told at the end of the turn of the event loop, once for all
    that happened in it. What would cost too much is told later, together with all that happened until then.
    """

    def __init__(self, namespace: Namespace, presence: Presence) -> None:
        self._adapter = adapter_of(namespace)
        self._presence = presence
        self._told: dict[str, PendingUpdates] = {}
        self._touched: dict[str, PendingUpdates] = {}
        self._joined, self._left, self._active, self._count = (
            packets.EventWriter(namespace.name, name, volatile=False)
            for name in ("user:joined", "user:left", "users:active", "users:count")
        )

    def ask(self, project_id: str, socket_id: str, *, with_count: bool = False) -> None:
        """Have a member get the list; with the count, where no change brings the count."""
        owed = self._touch(project_id).owed
        owed[socket_id] = with_count or owed.get(socket_id, False)

    def joined(self, project_id: str, who: PresenceEntry) -> None:
        """Tell the others of a connection that has come."""
        payload = UserJoined(who.socketId, who.userId, who.userName, who.joinedAt, who.joinedAt, who.userImage)
        told = self._change(project_id)
        update = self._joined.update(payload, told)
        if told.batch is not None:
            told.batch.join(who.socketId, update)
            self._bound(told)
        else:
            self._relay_change(update, told, but=who.socketId)

    def left(self, project_id: str, who: PresenceEntry) -> None:
        """Tell those left behind of a connection that has gone."""
        told = self._change(project_id)
        told.left = True
        update = self._left.update(UserLeft(who.socketId, who.userId, who.userName, now()), told)
        if told.batch is not None:
            told.batch.leave(who.socketId, update)
            self._bound(told)
        else:
            self._relay_change(update, told)

    def completed(self, project_id: str) -> None:
        """Send a list to the members that wait for it, since presence knows the list now."""
        self._change(project_id)

    def renew(self, told: PendingUpdates, outbox: object) -> list[Message]:
        """The list and the count, for a member who has missed what was told; nothing for somebody who has left."""
        present = self._told.get(told.id)  # everyone may have left meanwhile, and some come back
        socket_id = self._member(told, outbox)
        if socket_id is None or present is None:
            return []
        if not self._presence.is_complete(present.id):
            present.owed[socket_id] = True
            return []
        present.owed.pop(socket_id, None)
        return [self._roster(present), self._counted(present)]

    def _member(self, told: PendingUpdates, outbox: object) -> str | None:
        return next((sid for sid, candidate in self._members(told).items() if candidate is outbox), None)

    def _concerns(self, told: PendingUpdates, outbox: object) -> bool:
        return self._member(told, outbox) is not None

    @staticmethod
    def _bound(told: PendingUpdates) -> None:
        """Have everyone get the list in place of changes that would be more."""
        if told.is_batch_too_large:
            told.batch = ChangeBatch()
            told.left = True

    def _members(self, told: PendingUpdates) -> Mapping[str, Outbox]:
        return self._adapter.rooms.joined(told.id)

    def _change(self, project_id: str) -> PendingUpdates:
        told = self._touch(project_id)
        time = asyncio.get_running_loop().time()
        if told.changes.due > time:
            told.batch = told.batch or ChangeBatch()
        elif told.batch is None or not told.changed:
            told.batch = None
            told.changes.spend(time, len(self._members(told)) / DELIVERIES_RATE)
        told.changed = True
        told.roster = None
        return told

    def _touch(self, project_id: str) -> PendingUpdates:
        if not self._touched:
            asyncio.get_running_loop().call_soon(self._tell_touched)
        told = self._told.get(project_id)
        if told is None:
            told = self._told[project_id] = PendingUpdates(project_id, self.renew, self._concerns)
        self._touched[project_id] = told
        return told

    def _tell_touched(self) -> None:
        touched, self._touched = self._touched, {}
        for told in touched.values():
            if told.timer is not None:
                told.timer.cancel()
                told.timer = None
            members = self._members(told)
            if not members:
                del self._told[told.id]
            elif self._presence.is_complete(told.id):
                self._tell(told, members)

    def _tell(self, told: PendingUpdates, members: Mapping[str, Outbox]) -> None:
        loop = asyncio.get_running_loop()
        time = loop.time()
        if told.changed and told.batch is not None and told.changes.due > time:
            told.timer = loop.call_at(told.changes.due, self._touch, told.id)
            return
        if told.batch is not None:
            told.batch.send(told, members)
            told.changes.spend(time, told.batch.size * len(members) / CHANGES_BYTES)
            told.batch = None
        if told.left and told.leaves.due <= time:
            told.left = False
            told.owed = dict.fromkeys(members, False) | told.owed
            size = self._roster(told).size
            told.leaves.spend(time, max(size * len(members) / LEAVES_RATE, size / MEMBER_RATE))
        if told.owed and told.served.due <= time:
            self._serve(told, members, time)
        if told.changed:
            told.changed = False
            self._relay(self._counted(told), told)
            told.changes.spend(time, len(members) / CHANGES_RATE)
        waits = [told.served.due] * bool(told.owed) + [told.leaves.due] * told.left
        if waits:
            told.timer = loop.call_at(min(waits), self._touch, told.id)

    def _serve(self, told: PendingUpdates, members: Mapping[str, Outbox], time: float) -> None:
        """Send the list to members that are to get the list, to as many as one turn of the event loop allows."""
        cost = ENCODING if told.roster is None else 0
        roster = self._roster(told)
        chosen = list(told.owed)[: max(SERVED_AT_ONCE // roster.size, 1)]
        for socket_id in chosen:
            with_count = told.owed.pop(socket_id) and not told.changed
            outbox = members.get(socket_id)
            if outbox is not None:
                outbox.put(roster)
                if with_count:
                    outbox.put(self._counted(told))
        told.served.spend(time, (cost + len(chosen)) * roster.size / SERVED_RATE)

    def _roster(self, told: PendingUpdates) -> Update:
        if told.roster is None:
            told.roster = self._active.update(self._presence.roster(told.id), told, (told, "users:active"))
            told.roster_size = told.roster.size
        return told.roster

    def _counted(self, told: PendingUpdates) -> Update:
        return self._count.update(UsersCount(self._presence.count(told.id)), told, (told, "users:count"))

    def _relay_change(self, update: Update, told: PendingUpdates, *, but: str | None = None) -> None:
        cost = update.size * len(self._members(told)) / CHANGES_BYTES
        told.changes.spend(asyncio.get_running_loop().time(), cost)
        self._relay(update, told, but=but)

    def _relay(self, update: Update, told: PendingUpdates, *, but: str | None = None) -> None:
        self._adapter.relay(update, told.id, but, local=True)
