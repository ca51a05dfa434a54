"""The HTTP API's route: sign-in, rate limit, decoding and errors, the same for each endpoint."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

import msgspec
import structlog
from starlette._utils import get_route_path
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from synkora.app.api.endpoints import TABLE, Call, Endpoint, Endpoints
from synkora.app.api.messages import MOST_EVENTS, PATH_PARAMETERS
from synkora.app.api.openapi import document
from synkora.app.api.problems import Problem
from synkora.app.instance import Instance
from synkora.app.settings import Settings
from synkora.app.token_guard import TokenGuard, TokenRefused, address_of
from synkora.engine.incidents import IncidentKind
from synkora.engine.logs import fault
from synkora.engine.rate import Rate
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder, encode

BASE: Final = "/api/v1"
KEY: Final = "idempotency-key"
LONGEST_KEY: Final = 200  # characters
TRACEPARENT: Final = "traceparent"
_KEY: Final = re.compile(rf"[!-~]{{1,{LONGEST_KEY}}}")
_PLAIN: Final = "identity"  # the content coding of a body that is not compressed
_BURST: Final = 2  # seconds' worth of requests
_PATH: Final = re.compile(r"(?P<problem>.*) - at `\$\.?(?P<name>[^`]*)`$", re.DOTALL)

log = structlog.get_logger(__name__)


def api_route(settings: Settings, instance: Instance, *, port: int | None = None) -> BaseRoute:
    """Everything below `/api/v1`, as the settings say; with a `port`, on this port alone."""
    tokens = tuple(token.get_secret_value() for token in settings.api_tokens)
    return ApiRoute(instance, tokens, rate=settings.limit_api_rate, max_body=settings.max_payload, port=port)


class ApiRoute(BaseRoute):
    """Everything below `/api/v1`, for requests with one of the `tokens`.

    All tokens together may send `rate` requests a second; 0 is no limit. With a `port`, requests on other ports get
    404. A body may have `max_body` bytes. The path is matched in its encoded form: an id may contain any character.
    """

    def __init__(
        self, instance: Instance, tokens: tuple[str, ...], *, rate: float, max_body: int, port: int | None = None
    ) -> None:
        proxies, incidents = instance.server.settings.proxies, instance.server.incidents
        kind = IncidentKind.API_SIGN_IN_REFUSED
        self._guard = TokenGuard("API_TOKEN", tokens, proxies, incidents, kind, locks=False)
        self._proxies = proxies
        self._rate = Rate(rate, max(rate * _BURST, 1)) if rate else None
        self._due = 0.0
        self._max_body = max_body
        self._port = port
        self._endpoints = Endpoints(instance)
        self._paths: dict[tuple[str, ...], dict[str, _Handler]] = {}
        for endpoint in TABLE:
            self._paths.setdefault(tuple(endpoint.path.split("/")), {})[endpoint.method] = _Handler(endpoint)
        self._openapi = encode(document())

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the request is for the API."""
        is_ours = scope["type"] == "http" and get_route_path(scope).startswith(f"{BASE}/")
        return (Match.FULL if is_ours else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            response = await self._answer(Request(scope, receive, send))
        except Problem as problem:
            response = problem.response()
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        self._admit(request)
        path = _encoded_path(request.scope)
        if (request.method, path) == ("GET", ("", "openapi.json")):
            return Response(self._openapi, media_type="application/json")
        methods, parameters = self._find(path)
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(sorted(methods))
            raise Problem(405, f"this path takes {allowed}", {"allow": allowed})
        return await self._run(handler, request, parameters)

    def _find(self, path: tuple[str, ...]) -> "tuple[dict[str, _Handler], dict[str, str]]":
        """Return the handlers of a path by method, and its parameters. Raises `Problem`."""
        for names, methods in self._paths.items():
            if len(names) == len(path) and all(
                part and name[0] == "{" if name.startswith("{") else name == part
                for name, part in zip(names, path, strict=True)
            ):
                pairs = zip(names, path, strict=True)
                return methods, {name[1:-1]: _decoded(name, part) for name, part in pairs if name.startswith("{")}
        raise Problem(404, "the API has no such path")

    def _admit(self, request: Request) -> None:
        """Check port, token and rate. Raises `Problem`."""
        server = request.scope.get("server")
        if self._port is not None and server is not None and server[1] != self._port:
            raise Problem(404, "the API is served on API_PORT")
        try:
            self._guard.check(request)
        except TokenRefused as refused:
            raise Problem(refused.status, str(refused), refused.headers) from None
        if self._rate is None:
            return
        now = asyncio.get_running_loop().time()
        excess = self._rate.excess(self._due, now)
        if excess > 0:
            raise Problem(429, "too many requests: LIMIT_API_RATE", {"retry-after": str(int(excess) + 1)})
        self._due = self._rate.after(self._due, now)

    async def _run(self, handler: "_Handler", request: Request, parameters: Mapping[str, str]) -> Response:
        call = Call(
            path=handler.path(parameters),
            query=handler.query(request),
            body=handler.body(await self._body(request)) if handler.takes_body else None,
            key=_key(request),
            address=address_of(request, self._proxies),
            traceparent=request.headers.get(TRACEPARENT, ""),
        )
        try:
            answer = await handler.endpoint.act(self._endpoints, call)
        except Problem:
            raise
        except Exception as error:  # noqa: BLE001  # it is logged
            log.error("api_failed", path=handler.endpoint.path, **fault(error))
            raise Problem(500, "the server has failed: its log has the reason") from None
        return Response(encode(answer), 200, {"cache-control": "no-store"}, "application/json")

    async def _body(self, request: Request) -> bytes:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Problem(415, "content-type has to be application/json")
        if request.headers.get("content-encoding", _PLAIN).strip().lower() != _PLAIN:
            raise Problem(415, "a body must not be compressed: content-encoding")
        data = bytearray()
        try:
            async for piece in request.stream():
                data += piece
                if len(data) > self._max_body:
                    raise Problem(413, f"a body may have up to {self._max_body} bytes (WS_MAX_PAYLOAD)")
        except ClientDisconnect:
            raise Problem(400, "the body is incomplete") from None
        return bytes(data)


class _Handler:
    """Decodes the requests of an endpoint. Its methods raise `Problem`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.takes_body = endpoint.body is not None
        self._body: Decoder[Any] | None = None if endpoint.body is None else Decoder(endpoint.body)
        names = re.findall(r"\{(\w+)\}", endpoint.path)
        self._path = msgspec.defstruct("Path", [(name, PATH_PARAMETERS[name]) for name in names])

    def path(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the parameters of the path."""
        return msgspec.structs.asdict(_converted(given, self._path))

    def query(self, request: Request) -> Any:
        """Return the parameters of the query. Unknown ones are refused."""
        query = self.endpoint.query
        known = set() if query is None else {field.encode_name for field in msgspec.structs.fields(query)}
        unknown = [name for name in request.query_params if name not in known]
        if unknown:
            raise Problem(422, f"{unknown[0][:100]}: there is no such parameter")
        return None if query is None else _converted(dict(request.query_params), query)

    def body(self, data: bytes) -> Any:
        """Return the decoded body."""
        if self._body is None:
            return None
        try:
            body = self._body.decode(data)
        except ProtocolError as error:
            raise Problem(400, str(error)) from None
        except InvalidPayload as error:
            raise Problem(422, str(error)) from None
        if isinstance(body, list) and not 0 < len(body) <= MOST_EVENTS:
            raise Problem(422, f"a list has 1 to {MOST_EVENTS} events")
        return body


def _converted(given: Mapping[str, str], shape: type[msgspec.Struct]) -> Any:
    try:
        return msgspec.convert(dict(given), shape, strict=False)
    except msgspec.ValidationError as error:
        found = _PATH.match(str(error))
        words = f"{found['name']}: {found['problem']}" if found else str(error)
        raise Problem(422, words.replace("`", "")) from None


def _encoded_path(scope: Scope) -> tuple[str, ...]:
    """Return the parts of the path below `BASE`, as they are encoded in the request."""
    path = scope.get("raw_path", b"").decode("latin-1") or quote(scope["path"])
    return tuple(path.removeprefix(scope.get("root_path", "")).removeprefix(BASE).split("/"))


def _decoded(name: str, part: str) -> str:
    """Return a parameter of the path. Raises `Problem`: replaced bytes would name another user or project."""
    try:
        return unquote_to_bytes(part.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise Problem(422, f"{name[1:-1]}: this is not UTF-8, percent-encoded") from None


def _key(request: Request) -> str:
    """Return the Idempotency-Key, or an empty text. Raises `Problem`."""
    key = request.headers.get(KEY)
    if key is None:
        return ""
    if not _KEY.fullmatch(key):
        raise Problem(422, f"Idempotency-Key: 1 to {LONGEST_KEY} characters of ASCII, without blanks, are expected")
    return key
