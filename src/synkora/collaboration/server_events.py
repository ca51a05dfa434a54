"""The server's own events, one row each; `events.py` has the relayed events.

The generated documents (`synkora schema`) follow from these rows.
"""

from dataclasses import dataclass
from typing import Any, Final

from synkora.collaboration.events import ProjectId
from synkora.collaboration.payloads import (
    ActiveUsers,
    Connected,
    FreshToken,
    NotRefreshed,
    Pong,
    Refreshed,
    RefusedReply,
    ServerNotice,
    Shutdown,
    UserJoined,
    UserLeft,
    UsersCount,
)

_MOMENT: Final = "2026-11-23T09:30:00.000Z"
_SOCKET: Final = "2b1f9c4e8a7d4c0fAAAB"
_ALICE: Final = {"socketId": _SOCKET, "userId": "user_1", "userName": "Alice", "timestamp": _MOMENT}


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """An event that a client sends to the server.

    `payload` is the type of its argument, or None. The ack has one argument of one of the types `answers`, or none;
    `replies` are the names of the events that answer it.
    """

    name: str
    description: str
    payload: Any = None
    example: object = None
    answers: tuple[Any, ...] = ()
    replies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """An event that the server sends: `payload` is the type of its argument, `to` describes the recipients."""

    name: str
    description: str
    to: str
    payload: type
    example: object


CLIENT_EVENTS: Final = (
    ClientEvent(
        "join-project",
        "Joins a project. The server acknowledges when the client has joined, and sends no ack for a refused join.",
        ProjectId,
        "project_1",
        replies=("users:active",),
    ),
    ClientEvent("leave-project", "Leaves a project. Without a membership this has no effect.", ProjectId, "project_1"),
    ClientEvent("ping", "Asks the server for a `pong`.", replies=("pong",)),
    ClientEvent(
        "auth:refresh",
        "Replaces the session's token with a fresh one of the same user.",
        str | FreshToken,
        {"token": "eyJhbGciOiJIUzI1NiJ9..."},
        answers=(Refreshed, NotRefreshed),
    ),
)

SERVER_EVENTS: Final = (
    ServerEvent(
        "connected",
        "The first event after CONNECT.",
        "the client itself",
        Connected,
        {"socketId": _SOCKET, "userId": "user_1", "timestamp": _MOMENT},
    ),
    ServerEvent(
        "users:active",
        "Who is in the project.",
        "the client that joins; after a leave, all remaining members",
        ActiveUsers,
        {"users": [{"userId": "user_1", "userName": "Alice", "joinedAt": _MOMENT}], "count": 1},
    ),
    ServerEvent(
        "users:count",
        "The number of users in the project.",
        "everyone in the project, after a change",
        UsersCount,
        {"count": 1},
    ),
    ServerEvent(
        "user:joined", "A connection has joined the project.", "others", UserJoined, {**_ALICE, "joinedAt": _MOMENT}
    ),
    ServerEvent("user:left", "A connection has left the project.", "others", UserLeft, _ALICE),
    ServerEvent("pong", "Answers `ping`.", "the client itself", Pong, {"timestamp": _MOMENT}),
    ServerEvent(
        "error",
        "Something was refused or has ended, with the reason.",
        "the client itself",
        RefusedReply,
        {"message": "task:create: join the project first", "event": "task:create"},
    ),
    ServerEvent(
        "server:shutdown",
        "The server is about to stop; clients reconnect by themselves.",
        "everyone",
        Shutdown,
        {"message": "Server is shutting down. You will be reconnected."},
    ),
    ServerEvent(
        "server:notice",
        "A notice of the operators, posted from the console.",
        "everyone in the project",
        ServerNotice,
        {"message": "Maintenance at noon.", "timestamp": _MOMENT},
    ),
)
