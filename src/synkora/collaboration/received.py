"""How often an event has come."""

from synkora.collaboration.limits import EventClass


class EventCounter:
    """An event by its name: what it counts as where there are limits, and how often it has come, refused ones too."""

    __slots__ = ("kind", "times")

    def __init__(self, kind: EventClass) -> None:
        self.kind = kind
        self.times = 0
