"""The faults, with place and time."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

#: Seconds of silence on the way to Redis that a link outlives: three beats of two seconds, less what a busy machine
#: may add.
OUTLIVED = 4.0
#: Kinds of faults in which nothing is lost. An instance stood still: what was sent to it waits.
PAUSE = "paused"
#: Nothing came through between an instance and Redis, for less than a link outlives.
SILENCE = "silence"


@dataclass(slots=True)
class Fault:
    """A fault at a place, or of Redis if there is no place. Times are in seconds.

    `ended` is some seconds after the repair, when the server's health was `ok` again.
    """

    kind: str
    place: int | None
    began: float
    ended: float = math.inf

    @property
    def loses(self) -> bool:
        """Whether messages through Redis may be lost."""
        return self.kind not in (PAUSE, SILENCE)

    def __str__(self) -> str:
        where = "Redis" if self.place is None else f"instance {self.place}"
        return f"{self.began:8.2f} to {self.ended:8.2f}: {self.kind}, {where}"

    def touches(self, places: Iterable[int], since: float, until: float) -> bool:
        """Whether it affected one of the places, or Redis, at any time between the two."""
        return (self.place is None or self.place in places) and self.began <= until and self.ended >= since


class Faults:
    def __init__(self) -> None:
        self.all: list[Fault] = []

    def begin(self, kind: str, place: int | None, now: float) -> Fault:
        fault = Fault(kind, place, now)
        self.all.append(fault)
        return fault

    def trouble(self, places: Iterable[int], since: float, until: float) -> float:
        """The seconds of faults between the two times."""
        places = set(places)
        return sum(min(fault.ended, until) - fault.began for fault in self.all if fault.touches(places, since, until))

    def may_lose(self, places: Iterable[int], since: float, until: float) -> bool:
        """Whether a message of that time between two places may be lost on its way through Redis."""
        places = set(places)
        if any(fault.loses and fault.touches(places, since, until) for fault in self.all):
            return True
        # Several short silences in a row are a long one.
        near = (since - 2 * OUTLIVED, until + 2 * OUTLIVED)
        silences = [fault for fault in self.all if fault.touches(places, *near)]
        return sum(fault.ended - fault.began for fault in silences if fault.kind == SILENCE) >= OUTLIVED

    def settled(self, places: Iterable[int], at: float, margin: float) -> float:
        """The time by which a message sent at `at` has arrived: after `margin` seconds, plus the faults meanwhile."""
        deadline = at + margin
        for fault in sorted(self.all, key=lambda fault: fault.began):
            if fault.touches(places, at, deadline):
                deadline = max(deadline, fault.ended)
        return deadline
