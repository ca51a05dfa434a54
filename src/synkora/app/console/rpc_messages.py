"""What instances ask each other for the console, and what they answer: each a pair of shapes in JSON.

Times are seconds since 1970, durations seconds, sizes bytes. Numbers that are called totals only grow.
"""

from typing import Annotated, Final, Generic, Literal, TypeVar

import msgspec

from synkora.app.all_instances import Nothing, Topic
from synkora.collaboration.blocks import MAX_BLOCKS, Block, BlockedKind
from synkora.identity.user import MAX_ID_LENGTH
from synkora.protocol.json import Raw

T = TypeVar("T")

#: Of the users in a project so many are told.
MOST_MEMBERS: Final = 500
#: How far a table can be paged through: of what is behind it each instance would have to send all.
REACH: Final = 1000

Level = Literal["debug", "info", "warning", "error"]
ConnectionsOrder = Literal["since", "user", "transport", "address", "waiting", "project"]
ProjectsOrder = Literal["project", "users", "connections"]
Transport = Literal["", "websocket", "polling"]
Words = Annotated[str, msgspec.Meta(max_length=200)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=10**15)]  # the log's cursor takes 15 digits
Most = Annotated[int, msgspec.Meta(ge=1, le=REACH)]


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

    search: Words
    project: Words
    transport: Transport
    sort: ConnectionsOrder
    is_descending: bool
    most: Most


class ProjectsSought(msgspec.Struct):
    """Which projects have somebody in them?"""

    search: Words
    sort: ProjectsOrder
    is_descending: bool
    most: Most


class Row(msgspec.Struct, Generic[T], array_like=True):
    """What is `shown` of something, and where that stands: sorted by a number, then by a text, then by its id."""

    number: float
    text: str
    id: str
    shown: T


class Rows(msgspec.Struct, Generic[T]):
    """How many there are, how many of them fit, and the first of those."""

    total: Count
    matched: Count
    rows: Annotated[list[Row[T]], msgspec.Meta(max_length=REACH)]


class ConnectionRow(msgspec.Struct, rename="camel"):
    """A row of the table of connections; `received` are events, `projects` the first of so many as are counted."""

    socket_id: str
    instance: str
    user_id: str
    user_name: str
    transport: str
    address: str
    since: float
    projects: list[str]
    project_count: int
    waiting: int
    received: int


class ProjectRow(msgspec.Struct, rename="camel"):
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

    last: Count
    entries: list[Entry]


class SocketNamed(msgspec.Struct, rename="camel"):
    """The connection to end."""

    socket_id: str


class ProjectNamed(msgspec.Struct, rename="camel"):
    """The project whose connections are to be counted."""

    project_id: str


class Blocking(msgspec.Struct):
    """Which block to put in force, or to lift? Without a block the connections are ended only."""

    kind: BlockedKind
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]
    block: Block | None


class UserIn(msgspec.Struct, rename="camel"):
    """A user in a project, with all connections of one instance; `received` are events of these connections."""

    user_id: str
    user_name: str
    connections: Count
    received: Count


class ProjectPart(msgspec.Struct):
    """Who is in a project on one instance: the first `MOST_MEMBERS` users, and the numbers of all."""

    users: Annotated[list[UserIn], msgspec.Meta(max_length=MOST_MEMBERS)]
    connections: Count
    received: Count


NEWS: Final = Topic[News, Condition]("news", News, Condition)
CONNECTIONS: Final = Topic[ConnectionsSought, Rows[ConnectionRow]](
    "connections", ConnectionsSought, Rows[ConnectionRow]
)
PROJECTS: Final = Topic[ProjectsSought, Rows[ProjectRow]]("projects", ProjectsSought, Rows[ProjectRow])
LOG: Final = Topic[LogSought, LogPage]("log", LogSought, LogPage)
DISCONNECT: Final = Topic[SocketNamed, bool]("disconnect", SocketNamed, bool)
COUNT: Final = Topic[ProjectNamed, int]("count", ProjectNamed, Count)
PROJECT: Final = Topic[ProjectNamed, ProjectPart]("project", ProjectNamed, ProjectPart)
BLOCK: Final = Topic[Blocking, int]("block", Blocking, Count)
BLOCKS: Final = Topic[Nothing, list[Block]](
    "blocks", Nothing, Annotated[list[Block], msgspec.Meta(max_length=MAX_BLOCKS)]
)
