"""An emitter's way over the HTTP API of `synkora serve`."""

import asyncio
import ssl
from collections.abc import Collection, Mapping
from typing import Any, Final, Never
from urllib.parse import quote, urlsplit

import httpx

from synkora.emitter.ports import EmitFailed, Target
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder, encode

_BASE: Final = "/api/v1"
_HEADERS: Final = {"accept": "application/json", "content-type": "application/json", "user-agent": "synkora"}
_REFUSED: Final = frozenset({400, 404, 405, 413, 415, 422})
_PROBLEM: Final[Decoder[dict[str, Any]]] = Decoder(dict[str, Any])
_OK: Final = 200


class HttpWay:
    """A `Way` to `synkora serve`. Rooms are the ids of projects; of `disconnect`, the ids of sockets."""

    def __init__(self, url: str, *, token: str, timeout: float) -> None:
        self._base = _checked(url).rstrip("/") + _BASE
        self._headers = {**_HEADERS, "authorization": f"Bearer {token}"}
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None

    async def emit(self, target: Target, event: str, args: tuple[object, ...], attachments: tuple[bytes, ...]) -> None:
        """Publish an event to each of the projects, in a request for each."""
        self._check(target)
        if target.is_volatile or not target.is_compressed:
            raise ValueError("the HTTP API keeps each event: it has neither volatile nor compress")
        if len(args) != 1 or attachments:
            raise ValueError("the HTTP API takes one object after the event's name: emit(event, {…})")
        if len(target.except_rooms) > 1:
            raise ValueError("the HTTP API leaves out one socket: except_(socket_id)")
        body: dict[str, object] = {"event": event, "data": args[0]}
        if target.except_rooms:
            body["except"] = target.except_rooms[0]
        written = encode(body)
        headers = {"idempotency-key": target.once} if target.once else {}
        if target.traceparent:
            headers["traceparent"] = target.traceparent
        for project in _needed(target, "the id of a project"):
            await self._send("POST", f"/projects/{quote(project, safe='')}/events", written, headers)

    async def join(self, target: Target, rooms: Collection[str]) -> None:
        """Refuse: members join a project themselves."""
        _has_no("sockets_join")

    async def leave(self, target: Target, rooms: Collection[str]) -> None:
        """Refuse: the API removes a user from a project."""
        _has_no("sockets_leave")

    async def server_side_emit(self, target: Target, event: bytes) -> None:
        """Refuse: instances of `synkora serve` have no such handlers."""
        _has_no("server_side_emit")

    async def disconnect(self, target: Target, *, close: bool) -> None:
        """Disconnect sockets by their ids, in a request for each."""
        self._check(target)
        if not close or target.except_rooms:
            raise ValueError("the HTTP API ends connections: in_(socket_id).disconnect_sockets(close=True)")
        for socket in _needed(target, "the id of a socket"):
            await self._send("DELETE", f"/sockets/{quote(socket, safe='')}")

    async def close(self) -> None:
        """Close the idle connections."""
        if self._client is not None:
            await self._client.aclose()

    def _check(self, target: Target) -> None:
        if target.namespace != "/":
            raise ValueError("the HTTP API serves the main namespace: /")

    async def _send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._opened().request(method, self._base + path, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:  # its message might quote a header
            raise EmitFailed(f"the server did not answer: {type(error).__name__}") from None
        if response.status_code == _OK:
            return
        problem = _detail(response)
        if response.status_code in _REFUSED:
            raise ValueError(problem)
        raise EmitFailed(problem)

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            tls: ssl.SSLContext | bool = ssl.create_default_context() if self._base.startswith("https:") else False
            # Proxies of the environment are not used, since a proxy would see the token.
            self._client = httpx.AsyncClient(headers=self._headers, timeout=self._timeout, verify=tls, trust_env=False)
        return self._client


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_plain = bool(parts.hostname) and not (parts.username or parts.query or parts.fragment)
        is_plain = is_plain and (parts.port is None or parts.port > 0)
    except ValueError:
        is_plain = False
    if not is_plain:
        raise ValueError("the URL of an emitter over HTTP is the server's address, such as http://127.0.0.1:3001")
    return url


def _needed(target: Target, what: str) -> tuple[str, ...]:
    if not target.rooms:
        raise ValueError(f"the HTTP API needs {what}: to(…)")
    return tuple(dict.fromkeys(target.rooms))


def _has_no(name: str) -> Never:
    raise ValueError(f"the HTTP API has no {name}: use an emitter over Redis")


def _detail(response: httpx.Response) -> str:
    try:
        detail = _PROBLEM.decode(response.content).get("detail")
    except (InvalidPayload, ProtocolError):
        detail = None
    return (
        f"{response.status_code}: {detail}"
        if isinstance(detail, str)
        else f"the server answered {response.status_code}"
    )
