"""Requests and answers between instances for the console, as JSON.

Times are seconds since 1970, durations seconds, sizes bytes. Totals only grow.
"""

from typing import Annotated, Final, Generic, Literal, TypeVar

import msgspec

from synkora.app.all_instances import Topic
from synkora.app.moderation import Count, ProjectNamed
from synkora.protocol.json import Raw

T = TypeVar("T")

#: Users of a project in one answer.
MOST_MEMBERS: Final = 500
#: Rows that can be paged through. Each instance sends all rows up to the end of the page.
REACH: Final = 1000

Level = Literal["debug", "info", "warning", "error"]
ConnectionsOrder = Literal["since", "user", "transport", "address", "waiting", "project"]
ProjectsOrder = Literal["project", "users", "connections"]
Transport = Literal["", "websocket", "polling"]
Words = Annotated[str, msgspec.Meta(max_length=200)]
Most = Annotated[int, msgspec.Meta(ge=1, le=REACH)]


class News(msgspec.Struct):
    """Requests an instance's status and its samples after the time in `after`, by instance id."""

    after: dict[str, float]


class Condition(msgspec.Struct, rename="camel"):
    """An instance's status, and its samples as JSON, the oldest first."""

    name: str
    version: str
    started_at: float
    status: str
    reason: str | None
    samples: list[Raw]


class ConnectionsSought(msgspec.Struct):
    """Requests the first `most` connections that match. An empty field does not filter."""

    search: Words
    project: Words
    transport: Transport
    sort: ConnectionsOrder
    is_descending: bool
    most: Most


class ProjectsSought(msgspec.Struct):
    """Requests the projects with members."""

    search: Words
    sort: ProjectsOrder
    is_descending: bool
    most: Most


class Row(msgspec.Struct, Generic[T], array_like=True):
    """A row: the content `shown`, and the sort key (`number`, then `text`, then `id`)."""

    number: float
    text: str
    id: str
    shown: T


class Rows(msgspec.Struct, Generic[T]):
    """The number of rows, the number of matching rows, and the first matching rows."""

    total: Count
    matched: Count
    rows: Annotated[list[Row[T]], msgspec.Meta(max_length=REACH)]


class ConnectionRow(msgspec.Struct, rename="camel"):
    """A row of the table of connections. `received` counts events; `projects` has the first projects."""

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
    """A row of the table of projects, with totals over all instances."""

    project_id: str
    users: int
    connections: int
    instances: list[str]


class LogSought(msgspec.Struct):
    """Requests log entries. `after` has the number of the last known entry, by instance id."""

    after: dict[str, int]
    level: Level


class Entry(msgspec.Struct):
    """A log entry; `text` is its line of text."""

    at: float
    instance: str
    level: Level
    event: str
    text: str


class LogPage(msgspec.Struct):
    """Entries, the oldest first, and the number of the newest entry of the log, included or not."""

    last: Count
    entries: list[Entry]


class UserIn(msgspec.Struct, rename="camel"):
    """A user in a project, with the user's connections to one instance. `received` counts their events."""

    user_id: str
    user_name: str
    connections: Count
    received: Count


class ProjectPart(msgspec.Struct):
    """A project's members on one instance: the first `MOST_MEMBERS` users, and the totals."""

    users: Annotated[list[UserIn], msgspec.Meta(max_length=MOST_MEMBERS)]
    connections: Count
    received: Count


NEWS: Final = Topic[News, Condition]("news", News, Condition)
CONNECTIONS: Final = Topic[ConnectionsSought, Rows[ConnectionRow]](
    "connections", ConnectionsSought, Rows[ConnectionRow]
)
PROJECTS: Final = Topic[ProjectsSought, Rows[ProjectRow]]("projects", ProjectsSought, Rows[ProjectRow])
LOG: Final = Topic[LogSought, LogPage]("log", LogSought, LogPage)
PROJECT: Final = Topic[ProjectNamed, ProjectPart]("project", ProjectNamed, ProjectPart)
