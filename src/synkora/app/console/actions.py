"""The console's actions: disconnect, block, post a notice, remove from a project."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from starlette.requests import Request

from synkora.app.console.parameters import (
    BLOCK_BODY,
    DISCONNECT_BODY,
    NOTICE_BODY,
    UNBLOCK_BODY,
    blocked,
    body,
)
from synkora.app.console.sign_in import ConsoleRefused, ConsoleSignIn
from synkora.app.instance import Instance
from synkora.app.moderation import TooManyBlocks
from synkora.collaboration.blocks import MAX_BLOCKS

MAX_BODY: Final = 8192  # bytes

log = structlog.get_logger(__name__)


class Actions:
    """Runs actions on all instances."""

    def __init__(self, instance: Instance, guard: ConsoleSignIn) -> None:
        self._moderation = instance.moderation
        self._guard = guard
        self._members = instance.collaboration.members
        #: By the last part of the path.
        self.by_name: dict[str, Callable[[Request], Awaitable[object]]] = {
            "disconnect": self._disconnect,
            "block": self._block,
            "unblock": self._unblock,
            "notice": self._notice,
        }

    async def _disconnect(self, request: Request) -> object:
        named = body(await _json_body(request), DISCONNECT_BODY)
        done = await self._moderation.disconnect(named.socket_id)
        if done.connections:
            log.warning("console_disconnected", socketId=named.socket_id, address=self._guard.address(request))
        return {"disconnected": done.connections > 0, "unanswered": done.unanswered}

    async def _block(self, request: Request) -> object:
        asked = body(await _json_body(request), BLOCK_BODY)
        kind, name = blocked(asked.user_id, asked.address)
        try:
            if asked.seconds:
                done = await self._moderation.block(kind, name, asked.seconds)
            else:
                done = await self._moderation.disconnect_all(kind, name)
        except TooManyBlocks:
            raise ConsoleRefused(409, f"There are {MAX_BLOCKS} blocks already: lift some of them") from None
        log.warning(
            "console_blocked" if asked.seconds else "console_disconnected_all",
            kind=kind,
            name=name,
            seconds=asked.seconds,
            disconnected=done.connections,
            address=self._guard.address(request),
        )
        return {"disconnected": done.connections, "unanswered": done.unanswered}

    async def _unblock(self, request: Request) -> object:
        asked = body(await _json_body(request), UNBLOCK_BODY)
        kind, name = blocked(asked.user_id, asked.address)
        done = await self._moderation.unblock(kind, name)
        if done is None:
            return {"unblocked": False, "unanswered": []}
        log.warning("console_unblocked", kind=kind, name=name, address=self._guard.address(request))
        return {"unblocked": True, "unanswered": done.unanswered}

    async def _notice(self, request: Request) -> object:
        notice = body(await _json_body(request), NOTICE_BODY)
        message = notice.message.strip()
        if not message:
            raise ConsoleRefused(422, "message: must not be empty")
        if notice.project_id in self._members:
            raise ConsoleRefused(422, "projectId: this is the id of a socket, and a notice is for a project")
        done = await self._moderation.post_notice(notice.project_id, message)
        log.warning("console_noticed", projectId=notice.project_id, address=self._guard.address(request))
        return {"recipients": done.connections, "unanswered": done.unanswered}


async def _json_body(request: Request) -> bytes:
    """Return a request's body. It must be JSON: without a preflight, another site's page can send only forms."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ConsoleRefused(415, "content-type has to be application/json")
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY:
            raise ConsoleRefused(413, f"A body may have up to {MAX_BODY} bytes")
    return data
