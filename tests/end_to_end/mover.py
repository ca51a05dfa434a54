"""A client that moves between instances, and a record of its missed messages."""

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.end_to_end.member import Member
from tests.support.node_process import NodeProcess
from tests.support.real_clients import Inbox, Way
from tests.support.users import User

#: Numbers what happens, in the order in which the test learns of it.
_CLOCK: Final = itertools.count()


@dataclass
class Visit:
    """One connection: its time in the project, whether it was drained, and the received numbers."""

    joined: int | None = None
    is_ending: bool = False
    got: dict[str, list[int]] = field(default_factory=dict)  # by who sent them


class _Heard(Inbox):
    """The events of a user, each also recorded."""

    def __init__(self, mover: "Mover") -> None:
        super().__init__(mover.user.name)
        self._mover = mover

    def put(self, item: Any) -> None:
        super().put(item)
        self._mover.heard(*item)


class Mover(Member):
    """A member that sends numbers, and records the others' numbers by connection."""

    def __init__(self, user: User, way: Way, node: NodeProcess, *, project: str) -> None:
        super().__init__(user, way, node, project=project)
        self.events = _Heard(self)
        self.visits: list[Visit] = []
        self.sent: list[int] = []  # when each number was sent
        self.accepted: set[int] = set()
        self._calls: set[asyncio.Task[None]] = set()

    def changed(self, change: list[Any]) -> None:
        """Record the connection's state."""
        if change[0] == "connect":
            self.visits.append(Visit())
        elif change[0] == "disconnect":
            self.visits[-1].is_ending = True
        super().changed(change)

    def heard(self, event: str, *args: Any) -> None:
        visit = self.visits[-1]
        match event:
            case "users:active" if visit.joined is None:
                visit.joined = next(_CLOCK)
            case "server:shutdown":
                visit.is_ending = True
            case "task:update":
                visit.got.setdefault(args[0]["from"], []).append(args[0]["number"])

    @property
    def is_in(self) -> bool:
        """Whether it is in the project, and not being drained."""
        return bool(self.visits) and self.visits[-1].joined is not None and not self.visits[-1].is_ending

    @property
    def failures(self) -> list[list[Any]]:
        return [change for change in self.changes.items if change[0] == "connect_error"]

    async def work(self) -> None:
        """Send consecutive numbers while it is in the project."""
        while True:
            if self.is_in:
                number = len(self.sent)
                self.sent.append(next(_CLOCK))
                call = asyncio.create_task(self._send(number))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
            await asyncio.sleep(0.1)

    async def _send(self, number: int) -> None:
        task = {"from": self.user.id, "number": number}
        try:
            await self.call("task:update", {"projectId": self.project, "task": task})
        except AssertionError:
            return  # without an ack: it came to an instance too late
        self.accepted.add(number)

    async def rest(self) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def lacks(self, sender: "Mover", *, at_the_end: bool = False) -> list[int]:
        """The accepted numbers of another user that it missed although it was in the project, and those out of order.

        It was in the project if it got a later number, or `at_the_end`.
        """
        wrong = []
        for visit in self.visits:
            got = visit.got.get(sender.user.id, [])
            wrong += [after for before, after in itertools.pairwise(got) if before >= after]
            is_last = at_the_end and visit is self.visits[-1]
            until = len(sender.sent) if is_last else max(got, default=-1)
            if visit.joined is not None:
                wanted = {number for number in sender.accepted if sender.sent[number] > visit.joined and number < until}
                wrong += sorted(wanted - set(got))
        return wrong


def accept_what_came(movers: Iterable[Mover]) -> None:
    """A received number was accepted, although its sender may have been moved before the ack."""
    movers = list(movers)
    by_id = {mover.user.id: mover for mover in movers}
    for mover in movers:
        for visit in mover.visits:
            for sender, numbers in visit.got.items():
                by_id[sender].accepted.update(numbers)
