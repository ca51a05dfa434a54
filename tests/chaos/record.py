"""The clients' records: sent messages, memberships, and received messages."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

PRESENCE = frozenset(("user:joined", "user:left", "users:active", "users:count"))


@dataclass(slots=True, eq=False)
class Instance:
    """One run of the server at a place. `stopping` is the time of its kill or its signal."""

    place: int
    stopping: float = math.inf


@dataclass(slots=True, eq=False)
class Message:
    """A message that a connection has sent into a project, its `number`th.

    `got` has the sockets that had it in an earlier round, the sender's too.
    """

    id: str
    sender: "Connection"
    project: str
    number: int
    at: float
    got: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Visit:
    """A connection's membership in a project, from its request to join.

    `confirmed` is when it got the list of members, `left` when it left or ended, `over` when the server had
    answered what was sent after the leave: no event of the project may come afterwards.
    """

    connection: "Connection"
    project: str
    asked: float
    confirmed: float = math.inf
    left: float = math.inf
    over: float = math.inf
    notes: list[tuple[float, str, Any]] = field(default_factory=list)
    received: list[tuple[float, Message]] = field(default_factory=list)

    @property
    def until(self) -> float:
        return min(self.left, self.connection.instance.stopping)

    def __str__(self) -> str:
        return f"{self.connection} in {self.project}, {self.asked:.2f} to {self.left:.2f}"


class Connection:
    """A connection of a client of `user` with an instance."""

    def __init__(self, book: "Book", user: str, instance: Instance, socket_id: str) -> None:
        self.user = user
        self.instance = instance
        self.socket_id = socket_id
        self.ended = math.inf
        self.visit: Visit | None = None
        before = book.connections.get(socket_id)  # of a client that has returned to its socket
        self.visits: list[Visit] = [] if before is None else before.visits
        self._book = book
        self._numbers: Iterator[int] = itertools.count() if before is None else before._numbers
        book.connections[socket_id] = self

    def __str__(self) -> str:
        return f"{self.user} ({self.socket_id}, instance {self.instance.place})"

    @property
    def until(self) -> float:
        return min(self.ended, self.instance.stopping)

    def enter(self, project: str, now: float) -> Visit:
        self.visit = visit = Visit(self, project, now)
        self.visits.append(visit)
        self._book.visits.append(visit)
        return visit

    def leave(self, now: float) -> None:
        """Record a leave. The client then asks for an answer."""
        if self.visit is not None:
            self.visit.left = min(self.visit.left, now)

    def end(self, now: float) -> None:
        self.ended = min(self.ended, now)
        self.leave(now)
        if self.visit is not None:
            self.visit.over = min(self.visit.over, now)

    def send(self, now: float) -> Message:
        assert self.visit is not None
        number = next(self._numbers)
        message = Message(f"{self.socket_id} {number}", self, self.visit.project, number, now)
        self._book.messages[message.id] = message
        return message

    def take(self, event: list[Any], now: float) -> None:
        name = event[0]
        payload: Any = event[1] if len(event) > 1 else None
        visit = self.visit
        if name == "pong":
            if visit is not None and visit.left < now:
                visit.over = now
                self.visit = None
        elif name in PRESENCE:
            if visit is None:
                self._book.faults.append(f"{self} is in no project, and got {event}")
            else:
                if name == "users:active":
                    visit.confirmed = min(visit.confirmed, now)
                visit.notes.append((now, name, payload))
                self._book.announce(name, payload)
        elif name in ("task:move", "canvas:update"):
            self._take_message(payload["taskId"] if name == "task:move" else payload["id"], now)
        elif name == "error":
            self._book.faults.append(f"{self} was refused: {payload}")

    def _take_message(self, id: str, now: float) -> None:
        message = self._book.messages.get(id)
        if message is None:
            self._take_past(id)
        elif self.visit is None or self.visit.project != message.project:
            self._book.faults.append(f"{self} got {id!r} of {message.project}, which it is not in")
        else:
            self.visit.received.append((now, message))

    def _take_past(self, id: str) -> None:
        """A client that returns gets what it missed in an earlier round, while its instance was cut off, and once."""
        message = self._book.past.get(id)
        if message is None:
            self._book.faults.append(f"{self} got {id!r}, which nobody has sent")
        elif self.socket_id in message.got:
            self._book.faults.append(f"{self} got {id!r} again, of an earlier round")
        else:
            message.got.add(self.socket_id)


class Book:
    """All records, and the `faults` that were found immediately."""

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        self.visits: list[Visit] = []
        self.messages: dict[str, Message] = {}
        self.past: dict[str, Message] = {}  # of earlier rounds
        self.faults: list[str] = []
        #: The connections that a list's entries stand for, as far as they were announced.
        self.announced: dict[tuple[str, str], str] = {}

    def announce(self, name: str, payload: Any) -> None:
        """Learn which connection an entry of a list stands for."""
        if name == "user:joined":
            key, socket_id = (payload["userId"], payload["timestamp"]), payload["socketId"]
            if self.announced.setdefault(key, socket_id) != socket_id:
                self.announced[key] = ""  # two at the same moment

    def forget_past(self) -> None:
        for message in self.messages.values():
            message.got.add(message.sender.socket_id)
        for visit in self.visits:
            for _, message in visit.received:
                message.got.add(visit.connection.socket_id)
        self.past |= self.messages
        self.messages.clear()
        self.visits = [visit for visit in self.visits if visit.over == math.inf]
        for visit in self.visits:
            visit.received.clear()
