"""Requests and answers of the HTTP API. Times are seconds since 1970."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from synkora.collaboration.blocks import LONGEST_BLOCK, BlockedKind
from synkora.collaboration.events import ProjectId
from synkora.identity.user import MAX_ID_LENGTH
from synkora.protocol.json import Raw
from synkora.recovery.position import TEXT

MOST_EVENTS: Final = 100  # of one request
MOST_READ: Final = 1000  # events of one answer
MAX_NOTICE: Final = 500  # characters
_MAX_SOCKET_ID: Final = 100

UserId = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH, description="A user's id.", examples=["user_1"])]
SocketId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=_MAX_SOCKET_ID,
        description="The id that the client knows as `socket.id`.",
        examples=["2b1f9c4e8a7d4c0fAAAB"],
    ),
]
Address = Annotated[
    str,
    Meta(
        description="An IP address. Of an IPv6 address, its /64 is meant.",
        examples=["192.0.2.1"],
        extra_json_schema={"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
    ),
]
PATH_PARAMETERS: Final[Mapping[str, Any]] = {
    "projectId": ProjectId,
    "userId": UserId,
    "socketId": SocketId,
    "address": Address,
}
Position = Annotated[
    str,
    Meta(
        max_length=60,
        description="A place in the order of events, as clients get it with each event.",
        examples=["k3x9a0bq.2f"],
        extra_json_schema={"pattern": f"^{TEXT.pattern}$"},
    ),
]
PositionOrNone = Annotated[
    Position | None, Meta(description="The event's place in the order; null where events are not kept.")
]
Connections = Annotated[int, Meta(ge=0, description="The number of connections that this concerned.")]
Unanswered = Annotated[list[str], Meta(description="The ids of instances that did not answer.")]


class EventToPublish(msgspec.Struct, forbid_unknown_fields=True, rename={"except_": "except"}):
    """An event of the catalogue, with the data that a client would send, without `projectId`."""

    event: Annotated[str, Meta(min_length=1, max_length=100)]
    data: Raw
    except_: SocketId | None = None


class Published(msgspec.Struct):
    """The events have been published, in this order."""

    positions: list[PositionOrNone]


class ReadParameters(msgspec.Struct):
    """Which kept events to read. Without `since`, none: the answer has the position to read on from."""

    since: Position | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=MOST_READ)] = MOST_READ


class KeptEvent(msgspec.Struct, omit_defaults=True):
    """An event as the members got it. Attachments are in base64, in the order of their placeholders."""

    event: Annotated[str, Meta(description="The event's name; empty if the event is nested too deeply to be read.")]
    data: Annotated[
        Any, Meta(description="The event's data; of another program's event without one argument, all arguments.")
    ]
    position: Position
    attachments: list[str] = []


class KeptEvents(msgspec.Struct):
    """Events after a position, in their order, and the position to read on from.

    Of events with the same key, such as updates of one task, the newest one is kept.
    """

    events: list[KeptEvent]
    position: Position
    more: bool


class PresentUser(msgspec.Struct, rename="camel"):
    """A user in a project. `joinedAt` is in ISO 8601."""

    user_id: str
    user_name: str
    joined_at: str
    user_image: str | None = None


class PresentUsers(msgspec.Struct):
    """The users in a project, each once, in order of arrival."""

    users: list[PresentUser]
    count: int


class Closed(msgspec.Struct):
    """What has been done."""

    connections: Connections
    unanswered: Unanswered


class Notice(msgspec.Struct, forbid_unknown_fields=True):
    """A message to all members of a project: they get it as `server:notice`."""

    message: Annotated[str, Meta(min_length=1, max_length=MAX_NOTICE)]


class NewBlock(msgspec.Struct, forbid_unknown_fields=True):
    """How long to block."""

    seconds: Annotated[float, Meta(ge=1, le=LONGEST_BLOCK)]


class BlockInForce(msgspec.Struct):
    """A block, until a time."""

    kind: BlockedKind
    name: str
    until: float


class BlocksInForce(msgspec.Struct):
    """All blocks, those that end first before the others."""

    blocks: list[BlockInForce]


class InstanceState(msgspec.Struct, rename="camel"):
    """One instance of the server. `reason` is why it is not healthy."""

    id: str
    version: str
    started_at: float
    status: Literal["healthy", "degraded", "shutting down"]
    reason: str | None
    connections: int
    users: int
    projects: int


class ClusterState(msgspec.Struct):
    """The instances that share a Redis, or the one without."""

    instances: list[InstanceState]
    unanswered: Unanswered
