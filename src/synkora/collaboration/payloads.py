"""The payloads of the server's own events, as the app reads them.

Docstrings and descriptions of the types appear in the generated documents.
"""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

_MOMENT: Final = "2026-11-23T09:30:00.000Z"


def _moment(description: str) -> Meta:
    return Meta(description=description, examples=[_MOMENT], extra_json_schema={"format": "date-time"})


SocketId = Annotated[str, Meta(description="The connection's id.", examples=["2b1f9c4e8a7d4c0fAAAB"])]
UserId = Annotated[str, Meta(description="The user's id.", examples=["user_1"])]
UserName = Annotated[str, Meta(description="The user's name.", examples=["Alice"])]
UserImage = Annotated[
    str | None,
    Meta(
        description="Address of the user's picture; omitted if there is none.",
        examples=["https://app.example.com/alice.png"],
    ),
]
Timestamp = Annotated[
    str,
    _moment("The time in UTC: ISO 8601 with milliseconds and a `Z`."),
]
UserCount = Annotated[int, Meta(ge=0, description="The number of users in the project.", examples=[1])]
Message = Annotated[str, Meta(description="A message for the user.")]


class Connected(msgspec.Struct, frozen=True):
    """The client's identity, as other members see it."""

    socketId: SocketId
    userId: UserId
    timestamp: Timestamp


class ActiveUser(msgspec.Struct, omit_defaults=True, frozen=True):
    """A user in the project."""

    userId: UserId
    userName: UserName
    joinedAt: Annotated[str, _moment("When the user's earliest open connection joined, as in `timestamp`.")]
    userImage: UserImage = None


class ActiveUsers(msgspec.Struct, frozen=True):
    """The users in the project."""

    users: Annotated[
        list[ActiveUser], Meta(description="Each user once, however many tabs are open, in order of arrival.")
    ]
    count: UserCount


class UsersCount(msgspec.Struct, frozen=True):
    """The number of users in the project."""

    count: UserCount


class UserJoined(msgspec.Struct, frozen=True, omit_defaults=True):
    """A connection that has joined the project."""

    socketId: SocketId
    userId: UserId
    userName: UserName
    joinedAt: Annotated[
        str, _moment("When the connection joined, as in `timestamp`; the app reads it as in `users:active`.")
    ]
    timestamp: Timestamp
    userImage: UserImage = None


class UserLeft(msgspec.Struct, frozen=True):
    """A connection that has left the project."""

    socketId: SocketId
    userId: UserId
    userName: UserName
    timestamp: Timestamp


class Pong(msgspec.Struct, frozen=True):
    """The server's time."""

    timestamp: Timestamp


class Shutdown(msgspec.Struct, frozen=True):
    """The server is about to stop."""

    message: Message


class ServerNotice(msgspec.Struct, frozen=True):
    """A message from the server's operators."""

    message: Message
    timestamp: Timestamp


class RefusedReply(msgspec.Struct, frozen=True):
    """A refusal, or the end of the session or of access, with the reason."""

    message: Message
    event: Annotated[str | UnsetType, Meta(description="Name of the event that was refused, cut at 64 characters.")] = (
        UNSET
    )
    projectId: Annotated[str | UnsetType, Meta(description="The project, if the client lacks access to it.")] = UNSET
    retryAfter: Annotated[float | UnsetType, Meta(description="Seconds to wait, if a limit was hit.")] = UNSET


class FreshToken(msgspec.Struct, frozen=True):
    """A fresh token of the signed-in user."""

    token: Annotated[str, Meta(description="The token.", examples=["eyJhbGciOiJIUzI1NiJ9..."])]


class Refreshed(msgspec.Struct, frozen=True):
    """The session continues with the fresh token."""

    ok: Annotated[bool, Meta(extra_json_schema={"const": True})]
    expiresAt: Annotated[
        str | None,
        Meta(
            description="When the token expires, as in `timestamp`; null for a token that does not expire.",
            examples=[_MOMENT],
        ),
    ]


class NotRefreshed(msgspec.Struct, frozen=True):
    """The session continues with its previous token."""

    ok: Annotated[bool, Meta(extra_json_schema={"const": False})]
    message: Message
