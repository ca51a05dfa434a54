"""The console's actions."""

import time
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
from synkora.app.console.rpc_messages import BLOCK, COUNT, DISCONNECT, Blocking, ProjectNamed, SocketNamed
from synkora.app.console.sign_in import ConsoleRefused, ConsoleSignIn
from synkora.app.instance import Instance
from synkora.collaboration.blocks import MAX_BLOCKS, Block

MAX_BODY: Final = 8192  # bytes

log = structlog.get_logger(__name__)


class Actions:
    """Runs actions on all instances."""

    def __init__(self, instance: Instance, guard: ConsoleSignIn) -> None:
        self._instances = instance.instances
        self._guard = guard
        self._collaboration = instance.collaboration
        #: By the last part of the path.
        self.by_name: dict[str, Callable[[Request], Awaitable[object]]] = {
            "disconnect": self._disconnect,
            "block": self._block,
            "unblock": self._unblock,
            "notice": self._notice,
        }

    async def _disconnect(self, request: Request) -> object:
        named = body(await _json_body(request), DISCONNECT_BODY)
        answers, unanswered = await self._instances.ask(DISCONNECT, SocketNamed(named.socket_id))
        is_disconnected = any(answers.values())
        if is_disconnected:
            log.warning("console_disconnected", socketId=named.socket_id, address=self._guard.address(request))
        return {"disconnected": is_disconnected, "unanswered": unanswered}

    async def _block(self, request: Request) -> object:
        asked = body(await _json_body(request), BLOCK_BODY)
        kind, name = blocked(asked.user_id, asked.address)
        now = time.time()
        block = Block(kind, name, now + asked.seconds, now) if asked.seconds else None
        if block is not None and not self._collaboration.blocks.add(block):
            raise ConsoleRefused(409, f"There are {MAX_BLOCKS} blocks already: lift some of them")
        counts, unanswered = await self._instances.ask(BLOCK, Blocking(kind, name, block))
        disconnected = sum(counts.values())
        log.warning(
            "console_blocked" if block else "console_disconnected_all",
            kind=kind,
            name=name,
            seconds=asked.seconds,
            disconnected=disconnected,
            address=self._guard.address(request),
        )
        return {"disconnected": disconnected, "unanswered": unanswered}

    async def _unblock(self, request: Request) -> object:
        asked = body(await _json_body(request), UNBLOCK_BODY)
        kind, name = blocked(asked.user_id, asked.address)
        blocks = self._collaboration.blocks
        found = next((block for block in blocks.in_force if (block.kind, block.name) == (kind, name)), None)
        if found is None:
            return {"unblocked": False, "unanswered": []}
        lifted = Block(kind, name, found.until, max(time.time(), found.changed_at + 0.001), is_lifted=True)
        blocks.add(lifted)
        _, unanswered = await self._instances.ask(BLOCK, Blocking(kind, name, lifted))
        log.warning("console_unblocked", kind=kind, name=name, address=self._guard.address(request))
        return {"unblocked": True, "unanswered": unanswered}

    async def _notice(self, request: Request) -> object:
        notice = body(await _json_body(request), NOTICE_BODY)
        message = notice.message.strip()
        if not message:
            raise ConsoleRefused(422, "message: must not be empty")
        if notice.project_id in self._collaboration.members:
            raise ConsoleRefused(422, "projectId: this is the id of a socket, and a notice is for a project")
        self._collaboration.post_notice(notice.project_id, message)
        counts, unanswered = await self._instances.ask(COUNT, ProjectNamed(notice.project_id))
        log.warning("console_noticed", projectId=notice.project_id, address=self._guard.address(request))
        return {"recipients": sum(counts.values()), "unanswered": unanswered}


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
