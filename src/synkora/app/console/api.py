"""The console's queries and actions over HTTP."""

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from synkora.app.all_instances import InstanceReplies
from synkora.app.console.actions import Actions
from synkora.app.console.concurrency_limit import ConcurrencyLimit
from synkora.app.console.log_tail import KEEPS as MOST_ENTRIES
from synkora.app.console.parameters import (
    ConnectionsParameters,
    LogParameters,
    OverviewParameters,
    ProjectParameters,
    ProjectsParameters,
    marks,
    parameters,
    reach,
)
from synkora.app.console.rpc_messages import (
    CONNECTIONS,
    LOG,
    MOST_MEMBERS,
    NEWS,
    PROJECT,
    PROJECTS,
    REACH,
    ConnectionsSought,
    LogSought,
    News,
    ProjectsSought,
    Rows,
    UserIn,
)
from synkora.app.console.sampling import INTERVAL, KEEPS
from synkora.app.console.selection import merged
from synkora.app.console.settings_in_force import SettingInForce
from synkora.app.console.sign_in import ConsoleRefused, ConsoleSignIn
from synkora.app.instance import Instance
from synkora.app.moderation import ProjectNamed
from synkora.app.static_pages import takes_gzip
from synkora.collaboration.blocks import MAX_BLOCKS
from synkora.protocol.json import encode
from synkora.sockets.internals import recovery_of

#: Bytes from which an answer is compressed. A smaller answer takes about one network packet anyway.
COMPRESSED_FROM: Final = 2048

_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

#: Returns the answer to a request, as a value that can be encoded as JSON.
Endpoint = Callable[[Request], Awaitable[object]]


class Api:
    """The routes below `/console/api`. The answers cover all instances."""

    def __init__(self, instance: Instance, guard: ConsoleSignIn, settings: list[SettingInForce]) -> None:
        self._instances = instance.instances
        self._guard = guard
        self._collaboration = instance.collaboration
        self._recovery = recovery_of(instance.server.of("/"))
        self._settings = settings
        self._actions = Actions(instance, guard)
        self._turns = ConcurrencyLimit()
        self._compressing = asyncio.Semaphore(1)
        self._names: dict[str, str] = {}  # of all instances that have answered, by id

    @property
    def routes(self) -> list[Route]:
        return [
            self._route("overview", self._overview),
            self._route("connections", self._connections),
            self._route("projects", self._projects),
            self._route("project", self._project),
            self._route("log", self._log),
            self._route("settings", self._settings_in_force),
            self._route("blocks", self._blocks),
            *(self._route(name, act, "POST") for name, act in self._actions.by_name.items()),
        ]

    def _route(self, name: str, endpoint: Endpoint, method: str = "GET") -> Route:
        async def answer(request: Request) -> Response:
            try:
                self._guard.check(request)
                found = await endpoint(request)
            except ConsoleRefused as refusal:
                return _json({"message": str(refusal)}, refusal.status, refusal.headers)
            return await self._answer(request, found)

        return Route(f"/console/api/{name}", answer, methods=[method])

    async def _answer(self, request: Request, found: object) -> Response:
        answer = _json(found)
        answer.headers["vary"] = "accept-encoding"
        if len(answer.body) < COMPRESSED_FROM or not takes_gzip(request):
            return answer
        async with self._compressing:
            # In a thread, so that the event loop continues: 15 minutes of samples take some milliseconds.
            body = await asyncio.to_thread(gzip.compress, bytes(answer.body), 1)
        return Response(body, 200, {**answer.headers, "content-encoding": "gzip", "content-length": str(len(body))})

    # Queries

    async def _overview(self, request: Request) -> object:
        asked = parameters(request.query_params, OverviewParameters)
        after = {instance: float(mark) for instance, mark in marks(asked.after).items()}
        others = self._instances.others
        conditions, unanswered = await self._instances.ask(NEWS, News(after))
        self._names = {instance: name for instance, name in self._names.items() if instance in others}
        self._names |= {instance: condition.name for instance, condition in conditions.items()}
        instances: list[dict[str, object]] = [
            {
                "id": instance,
                "name": condition.name,
                "version": condition.version,
                "startedAt": condition.started_at,
                "isThis": instance == self._instances.id,
                "status": condition.status,
                "reason": condition.reason,
                "samples": condition.samples,
                "unanswered": False,
            }
            for instance, condition in sorted(conditions.items(), key=lambda item: item[1].name)
        ]
        instances += [
            {"id": instance, "name": self._names.get(instance, instance), "unanswered": True, "samples": []}
            for instance in unanswered
        ]
        return {"interval": INTERVAL, "keeps": KEEPS, "instances": instances}

    async def _connections(self, request: Request) -> object:
        asked = parameters(request.query_params, ConnectionsParameters)
        is_descending = asked.order == "desc"
        most = reach(asked.offset, asked.limit)
        sought = ConnectionsSought(asked.search, asked.project, asked.transport, asked.sort, is_descending, most)
        async with self._turns.turn():
            answers = await self._instances.ask(CONNECTIONS, sought, asked.instance)
        page = merged(answers.by_instance, asked.offset, asked.limit, is_descending=is_descending)
        return _table(answers, [connection for connection, _ in page])

    async def _projects(self, request: Request) -> object:
        asked = parameters(request.query_params, ProjectsParameters)
        is_descending = asked.order == "desc"
        most = reach(asked.offset, asked.limit)
        sought = ProjectsSought(asked.search, asked.sort, is_descending, most)
        async with self._turns.turn():
            answers = await self._instances.ask(PROJECTS, sought)
        page = merged(answers.by_instance, asked.offset, asked.limit, is_descending=is_descending)
        return _table(answers, [msgspec.structs.replace(row, instances=instances) for row, instances in page])

    async def _project(self, request: Request) -> object:
        asked = parameters(request.query_params, ProjectParameters)
        async with self._turns.turn():
            parts, unanswered = await self._instances.ask(PROJECT, ProjectNamed(asked.project_id))
        users: dict[str, UserIn] = {}
        for user in (user for _, part in sorted(parts.items()) for user in part.users):
            known = users.setdefault(user.user_id, UserIn(user.user_id, user.user_name, 0, 0))
            known.connections += user.connections
            known.received += user.received
        return {
            "at": time.time(),
            "total": self._collaboration.presence.occupancy(asked.project_id).users or len(users),
            "connections": sum(part.connections for part in parts.values()),
            "received": sum(part.received for part in parts.values()),
            "kept": await self._kept(asked.project_id),
            "users": list(users.values())[:MOST_MEMBERS],
            "unanswered": unanswered,
        }

    async def _kept(self, project_id: str) -> dict[str, int] | None:
        """Return the size of what recovery stores of a project; None without recovery, or without its Redis."""
        kept = None if self._recovery is None else await self._recovery.log.kept(project_id)
        return None if kept is None else kept._asdict()

    async def _log(self, request: Request) -> object:
        asked = parameters(request.query_params, LogParameters)
        after = {instance: int(float(mark)) for instance, mark in marks(asked.after).items()}
        pages, _ = await self._instances.ask(LOG, LogSought(after, asked.level), asked.instance)
        entries = sorted((entry for page in pages.values() for entry in page.entries), key=lambda entry: entry.at)
        known = {self._instances.id, *self._instances.others}
        last = {instance: number for instance, number in after.items() if instance in known}
        last |= {instance: page.last for instance, page in pages.items()}
        cursor = ",".join(f"{instance}:{number}" for instance, number in sorted(last.items()))
        return {"cursor": cursor, "entries": entries[-MOST_ENTRIES:]}

    async def _blocks(self, _: Request) -> object:
        blocks = sorted(self._collaboration.blocks.in_force, key=lambda block: block.until)
        return {
            "most": MAX_BLOCKS,
            "blocks": [{"kind": block.kind, "name": block.name, "until": block.until} for block in blocks],
        }

    async def _settings_in_force(self, _: Request) -> object:
        return {"settings": self._settings}


def _table(answers: InstanceReplies[Rows[Any]], rows: list[Any]) -> object:
    matched = sum(part.matched for part in answers.by_instance.values())
    return {
        "total": sum(part.total for part in answers.by_instance.values()),
        "matched": matched,
        "reachable": min(matched, REACH),
        "rows": rows,
        "unanswered": answers.unanswered,
    }


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(value), status, {**_HEADERS, **(headers or {})}, "application/json")
