"""Synkora's events by python-socketio on uvicorn: what the project's server is measured beside.

It checks what that server checks (token, payload, membership, limits) and tells the same.
"""

import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jwt  # type: ignore[import-not-found]  # it is installed in this folder's environment alone
import socketio  # type: ignore[import-untyped]  # it has no types
import uvicorn

Payload = dict[str, Any]
Delivery = Callable[["Member", Payload], object]

BURST = 3  # seconds' worth that may come at once
LIMITS = {
    "volatile": float(os.environ.get("LIMIT_VOLATILE_RATE", "100")),
    "edit": float(os.environ.get("LIMIT_EDIT_RATE", "100")),
    "other": float(os.environ.get("LIMIT_OTHER_RATE", "20")),
}
SERVICE = "Synkora WebSocket Server"
STARTED = time.monotonic()

log = logging.getLogger("server")
sio = socketio.AsyncServer(
    async_mode="asgi",
    cors_allowed_origins=os.environ.get("ALLOWED_ORIGINS", "http://localhost:3000").split(","),
    ping_interval=25,
    ping_timeout=60,
    max_http_buffer_size=1_000_000,
)


class Bucket:
    """A token bucket."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.tokens = rate * BURST
        self.at = time.monotonic()

    def take(self) -> bool:
        """Count an event; false for one too many."""
        now = time.monotonic()
        self.tokens = min(self.rate * BURST, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass
class Member:
    """A connected user."""

    sid: str
    user_id: str
    user_name: str
    user_image: str | None
    projects: set[str] = field(default_factory=set)
    buckets: dict[str, Bucket] = field(default_factory=lambda: {kind: Bucket(rate) for kind, rate in LIMITS.items()})

    @property
    def shown(self) -> Payload:
        """Who it is, as the others see it."""
        image = {} if self.user_image is None else {"userImage": self.user_image}
        return {"userId": self.user_id, "userName": self.user_name, **image}


members: dict[str, Member] = {}
projects: dict[str, dict[str, Payload]] = {}  # by id: its members, by the connection's id
received: Counter[str] = Counter()  # for a page of metrics


def now() -> str:
    """The time as the web app has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def tell(event: str, what: object, room: str, skip: str | None = None) -> None:
    """Emit an event to a room."""
    await sio.emit(event, what, room=room, skip_sid=skip)


async def tell_list(project: str, room: str) -> None:
    """Send a project's users to a room."""
    users = projects.get(project, {})
    await tell("users:active", {"users": list(users.values()), "count": len(users)}, room)


async def connect(sid: str, _: Payload, auth: Payload | None = None) -> None:
    """Sign a user in."""
    token = (auth or {}).get("token")
    if not token:
        raise socketio.exceptions.ConnectionRefusedError("Authentication required")
    try:
        claims = jwt.decode(token, os.environ["NEXTAUTH_SECRET"], algorithms=["HS256"])
    except jwt.InvalidTokenError:
        raise socketio.exceptions.ConnectionRefusedError("Authentication failed") from None
    if not claims.get("id"):
        raise socketio.exceptions.ConnectionRefusedError("Invalid token")
    image = claims.get("picture") or claims.get("image")
    member = members[sid] = Member(sid, claims["id"], claims.get("name", "Anonymous"), image)
    # A task, since what is emitted here would come before the reply to CONNECT.
    connected = {"socketId": sid, "userId": member.user_id, "timestamp": now()}
    sio.start_background_task(tell, "connected", connected, sid)
    log.info("✓ Client connected: %s (User: %s)", sid, member.user_name)


async def disconnect(sid: str, reason: str) -> None:
    """Remove a user from everything."""
    member = members.pop(sid)
    for project in list(member.projects):
        await leave(member, project)
    log.info("✗ Client disconnected: %s (%s) - %s", sid, member.user_name, reason)


async def join(member: Member, project: str) -> None:
    """Let a member into a project, and send the whole list to everyone there, as the Node.js server does."""
    users = projects.setdefault(project, {})
    if member.sid in users:
        await tell_list(project, member.sid)
        return
    joined_at = now()
    users[member.sid] = {**member.shown, "joinedAt": joined_at}
    member.projects.add(project)
    await sio.enter_room(member.sid, project)
    times = {"joinedAt": joined_at, "timestamp": joined_at}
    await tell("user:joined", {"socketId": member.sid, **member.shown, **times}, project, member.sid)
    await tell_list(project, project)
    await tell("users:count", {"count": len(users)}, project)
    log.info("✓ %s joined project %s", member.user_name, project)


async def leave(member: Member, project: str) -> None:
    """Let a member out of a project."""
    if project not in member.projects:
        return
    member.projects.discard(project)
    await sio.leave_room(member.sid, project)
    users = projects[project]
    del users[member.sid]
    if not users:
        del projects[project]
        return
    left = {"socketId": member.sid, "userId": member.user_id, "userName": member.user_name, "timestamp": now()}
    await tell("user:left", left, project)
    await tell_list(project, project)
    await tell("users:count", {"count": len(users)}, project)


def on(event: str, kind: str, handle: Callable[[Member, Any], Awaitable[None]]) -> None:
    """Handle an event within the limits."""

    async def handler(sid: str, payload: Any = None) -> None:
        received[event] += 1
        if members[sid].buckets[kind].take():
            await handle(members[sid], payload)
        else:
            await tell("error", {"message": "Too many events: slow down"}, sid)

    sio.on(event, handler)


def on_project(event: str, handle: Callable[[Member, str], Awaitable[None]]) -> None:
    """Handle an event that has a project's id and nothing else."""

    async def checked(member: Member, project: Any) -> None:
        if isinstance(project, str) and project:
            await handle(member, project)
        else:
            await tell("error", {"message": "Project ID is required"}, member.sid)

    on(event, "other", checked)


def relay(event: str, kind: str, delivery: Delivery, logged: str | None = None) -> None:
    """Pass an event on to the others in its project."""

    async def pass_on(member: Member, payload: Any) -> None:
        project = payload.get("projectId") if isinstance(payload, dict) else None
        if not isinstance(project, str) or not project:
            await tell("error", {"message": "Project ID is required"}, member.sid)
        elif project not in member.projects:
            await tell("error", {"message": f"{event}: join the project first"}, member.sid)
        else:
            await tell(event, delivery(member, payload), project, member.sid)
            if logged:
                log.info("→ %s in %s by %s", logged, project, member.user_name)

    on(event, kind, pass_on)


def whole(name: str) -> Delivery:
    """A delivery that is one field's value."""
    return lambda _, payload: payload.get(name)


def fields(*names: str, sender: tuple[str, ...] = ()) -> Delivery:
    """A delivery of the sender's fields and of those of the payload that are there."""

    def deliver(member: Member, payload: Payload) -> object:
        signature = {"socketId": member.sid, "userId": member.user_id, "userName": member.user_name}
        return {name: signature[name] for name in sender} | {name: payload[name] for name in names if name in payload}

    return deliver


async def pong(member: Member, _: object) -> None:
    """Answer `ping`."""
    await tell("pong", {"timestamp": now()}, member.sid)


sio.on("connect", connect)
sio.on("disconnect", disconnect)
on("ping", "other", pong)
on_project("join-project", join)
on_project("leave-project", leave)
relay("task:create", "edit", whole("task"), "Task created")
relay("task:update", "edit", whole("task"), "Task updated")
relay("task:delete", "edit", fields("taskId"), "Task deleted")
relay("task:move", "edit", fields("taskId", "status"), "Task moved")
relay("canvas:update", "edit", whole("changes"))
relay("canvas:cursor", "volatile", fields("position", sender=("socketId",)))
relay("markdown:update", "edit", fields("fileId", "content"), "Markdown updated")
relay("markdown:cursor", "volatile", fields("fileId", "position", sender=("socketId",)))
relay("spreadsheet:cell-update", "edit", fields("cell", "value"), "Cell updated")
relay("spreadsheet:batch-update", "edit", fields("cells"), "Cells updated")
relay("spreadsheet:selection", "volatile", fields("selection", sender=("socketId",)))
relay("typing:start", "volatile", fields("context", "timestamp", sender=("socketId", "userId", "userName")))
relay("typing:stop", "volatile", fields("context", sender=("socketId", "userId")))


async def health(scope: Payload, _: object, send: Callable[[Payload], Awaitable[None]]) -> None:
    """`GET /health` and `GET /`."""
    found = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in ("/", "/health")
    counts = {"uptime": time.monotonic() - STARTED, "connections": len(members), "rooms": len(projects)}
    answer = {"status": "healthy", "service": SERVICE, **counts} if found else {"error": "Not found"}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200 if found else 404, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    uvicorn.run(
        socketio.ASGIApp(sio, health),
        host=os.environ.get("WS_HOST", "127.0.0.1"),
        port=int(os.environ.get("WS_PORT", "3001")),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=os.environ.get("COMPRESSION") == "true",
        access_log=False,
        log_config=None,
    )
