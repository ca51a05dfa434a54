"""The console's questions and actions, over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from synkora.app.console.fleet import Answers, Fleet
from synkora.app.console.guard import Guard, Refused
from synkora.app.console.log_tail import KEEPS as MOST_ENTRIES
from synkora.app.console.parameters import (
    DISCONNECT_BODY,
    NOTICE_BODY,
    ConnectionsParameters,
    LogParameters,
    OverviewParameters,
    ProjectsParameters,
    body,
    marks,
    parameters,
    reach,
)
from synkora.app.console.sampling import INTERVAL, KEEPS
from synkora.app.console.selection import merged
from synkora.app.console.settings_in_force import SettingInForce
from synkora.app.console.topics import (
    CONNECTIONS,
    COUNT,
    DISCONNECT,
    LOG,
    NEWS,
    PROJECTS,
    REACH,
    ConnectionsSought,
    LogSought,
    News,
    ProjectNamed,
    ProjectsSought,
    Rows,
    SocketNamed,
)
from synkora.app.console.turns import Turns
from synkora.collaboration.service import Collaboration
from synkora.protocol.json import encode

MAX_BODY: Final = 8192  # bytes

log = structlog.get_logger(__name__)

_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

#: What answers a request with something that JSON can hold.
Endpoint = Callable[[Request], Awaitable[object]]


class Api:
    """Answers below `/console/api`, for all instances that `fleet` has."""

    def __init__(
        self, fleet: Fleet, guard: Guard, collaboration: Collaboration, settings: list[SettingInForce]
    ) -> None:
        self._fleet = fleet
        self._guard = guard
        self._collaboration = collaboration
        self._settings = settings
        self._turns = Turns()
        self._names: dict[str, str] = {}  # of instances that have ever answered

    @property
    def routes(self) -> list[Route]:
        """Its routes."""
        return [
            self._route("overview", self._overview),
            self._route("connections", self._connections),
            self._route("projects", self._projects),
            self._route("log", self._log),
            self._route("settings", self._settings_in_force),
            self._route("disconnect", self._disconnect, "POST"),
            self._route("notice", self._notice, "POST"),
        ]

    def _route(self, name: str, endpoint: Endpoint, method: str = "GET") -> Route:
        async def answer(request: Request) -> Response:
            try:
                self._guard.check(request)
                found = await endpoint(request)
            except Refused as refusal:
                return _json({"message": str(refusal)}, refusal.status, refusal.headers)
            return _json(found)

        return Route(f"/console/api/{name}", answer, methods=[method])

    # Questions

    async def _overview(self, request: Request) -> object:
        asked = parameters(request.query_params, OverviewParameters)
        after = {instance: float(mark) for instance, mark in marks(asked.after).items()}
        others = self._fleet.others
        conditions, unanswered = await self._fleet.ask(NEWS, News(after))
        self._names = {instance: name for instance, name in self._names.items() if instance in others}
        self._names |= {instance: condition.name for instance, condition in conditions.items()}
        instances: list[dict[str, object]] = [
            {
                "id": instance,
                "name": condition.name,
                "version": condition.version,
                "startedAt": condition.started_at,
                "isThis": instance == self._fleet.id,
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
            answers = await self._fleet.ask(CONNECTIONS, sought, asked.instance)
        page = merged(answers.by_instance, asked.offset, asked.limit, is_descending=is_descending)
        return _table(answers, [connection for connection, _ in page])

    async def _projects(self, request: Request) -> object:
        asked = parameters(request.query_params, ProjectsParameters)
        is_descending = asked.order == "desc"
        most = reach(asked.offset, asked.limit)
        sought = ProjectsSought(asked.search, asked.sort, is_descending, most)
        async with self._turns.turn():
            answers = await self._fleet.ask(PROJECTS, sought)
        page = merged(answers.by_instance, asked.offset, asked.limit, is_descending=is_descending)
        return _table(answers, [msgspec.structs.replace(row, instances=instances) for row, instances in page])

    async def _log(self, request: Request) -> object:
        asked = parameters(request.query_params, LogParameters)
        after = {instance: int(float(mark)) for instance, mark in marks(asked.after).items()}
        pages, _ = await self._fleet.ask(LOG, LogSought(after, asked.level), asked.instance)
        entries = sorted((entry for page in pages.values() for entry in page.entries), key=lambda entry: entry.at)
        known = {self._fleet.id, *self._fleet.others}
        last = {instance: number for instance, number in after.items() if instance in known}
        last |= {instance: page.last for instance, page in pages.items()}
        cursor = ",".join(f"{instance}:{number}" for instance, number in sorted(last.items()))
        return {"cursor": cursor, "entries": entries[-MOST_ENTRIES:]}

    async def _settings_in_force(self, _: Request) -> object:
        return {"settings": self._settings}

    # Actions

    async def _disconnect(self, request: Request) -> object:
        named = body(await _json_body(request), DISCONNECT_BODY)
        answers, unanswered = await self._fleet.ask(DISCONNECT, SocketNamed(named.socket_id))
        is_disconnected = any(answers.values())
        if is_disconnected:
            log.warning("console_disconnected", socketId=named.socket_id, address=self._guard.address(request))
        return {"disconnected": is_disconnected, "unanswered": unanswered}

    async def _notice(self, request: Request) -> object:
        notice = body(await _json_body(request), NOTICE_BODY)
        message = notice.message.strip()
        if not message:
            raise Refused(422, "message: there is nothing in it")
        if notice.project_id in self._collaboration.members:
            raise Refused(422, "projectId: this is the id of a socket, and a notice is for a project")
        self._collaboration.post_notice(notice.project_id, message)
        counts, unanswered = await self._fleet.ask(COUNT, ProjectNamed(notice.project_id))
        log.warning("console_noticed", projectId=notice.project_id, address=self._guard.address(request))
        return {"recipients": sum(counts.values()), "unanswered": unanswered}


def _table(answers: Answers[Rows[Any]], rows: list[Any]) -> object:
    matched = sum(part.matched for part in answers.by_instance.values())
    return {
        "total": sum(part.total for part in answers.by_instance.values()),
        "matched": matched,
        "reachable": min(matched, REACH),
        "rows": rows,
        "unanswered": answers.unanswered,
    }


async def _json_body(request: Request) -> bytes:
    """The body of a request, which has to be JSON: a page of another site could send nothing but forms unasked."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "content-type has to be application/json")
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY:
            raise Refused(413, f"A body may have up to {MAX_BODY} bytes")
    return data


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(value), status, {**_HEADERS, **(headers or {})}, "application/json")
