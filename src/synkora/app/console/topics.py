"""What instances ask each other for the console, and what they answer: each a pair of shapes in JSON.

Times are seconds since 1970, durations seconds, sizes bytes. Numbers that are called totals only grow.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from synkora.protocol.json import Decoder, Raw

Q = TypeVar("Q")
A = TypeVar("A")

Level = Literal["debug", "info", "warning", "error"]
#: What a row is sorted by, and what tells it from those of which that is the same.
Key = float | int | str


@dataclass(frozen=True)
class Topic(Generic[Q, A]):
    """A question that all instances know by its name."""

    name: str
    question: Any
    answer: Any
    questions: Decoder[Q] = field(init=False, repr=False)
    answers: Decoder[A] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "questions", Decoder(self.question))
        object.__setattr__(self, "answers", Decoder(self.answer))


class News(msgspec.Struct):
    """How is an instance, and what has it measured since? `after` has a time for each instance's id."""

    after: dict[str, float]


class Condition(msgspec.Struct, rename="camel"):
    """How an instance is, and its samples as JSON, the oldest first."""

    name: str
    version: str
    started_at: float
    status: str
    reason: str | None
    samples: list[Raw]


class ConnectionsSought(msgspec.Struct):
    """Which connections are there? What is empty is no filter. Of those that fit the first `most` are told."""

    search: str
    project: str
    transport: str
    sort: str
    is_descending: bool
    most: int


class ProjectsSought(msgspec.Struct):
    """Which projects have somebody in them?"""

    search: str
    sort: str
    is_descending: bool
    most: int


class Rows(msgspec.Struct):
    """How many there are, how many of them fit, and the first of those: their key, their id, and what they are."""

    total: int
    matched: int
    rows: list[tuple[Key, str, Raw]]


class Connection(msgspec.Struct, rename="camel"):
    """A row of the table of connections; `received` are events."""

    socket_id: str
    instance: str
    user_id: str
    user_name: str
    transport: str
    address: str
    since: float
    projects: list[str]
    waiting: int
    received: int


class Project(msgspec.Struct, rename="camel"):
    """A row of the table of projects, its numbers those of all instances."""

    project_id: str
    users: int
    connections: int
    instances: list[str]


class LogSought(msgspec.Struct):
    """What is in the log? `after` has the number of the last known entry for each instance's id."""

    after: dict[str, int]
    level: Level


class Entry(msgspec.Struct):
    """An entry of the log; `text` is its line for people."""

    at: float
    instance: str
    level: Level
    event: str
    text: str


class LogPage(msgspec.Struct):
    """Entries, the oldest first, and the number of the last that there is, shown here or not."""

    last: int
    entries: list[Entry]


class SocketNamed(msgspec.Struct, rename="camel"):
    """The connection to end."""

    socket_id: str


class ProjectNamed(msgspec.Struct, rename="camel"):
    """The project whose connections are to be counted."""

    project_id: str


NEWS: Final = Topic[News, Condition]("news", News, Condition)
CONNECTIONS: Final = Topic[ConnectionsSought, Rows]("connections", ConnectionsSought, Rows)
PROJECTS: Final = Topic[ProjectsSought, Rows]("projects", ProjectsSought, Rows)
LOG: Final = Topic[LogSought, LogPage]("log", LogSought, LogPage)
DISCONNECT: Final = Topic[SocketNamed, bool]("disconnect", SocketNamed, bool)
COUNT: Final = Topic[ProjectNamed, int]("count", ProjectNamed, int)
