"""Errors of the HTTP API as Problem Details (RFC 9457)."""

import http
from typing import Final

import msgspec
from starlette.responses import Response

from synkora.protocol.json import encode

CONTENT_TYPE: Final = "application/problem+json"


class ProblemDetails(msgspec.Struct):
    """Why a request was refused."""

    title: str
    status: int
    detail: str


class Problem(Exception):
    """A refused request: the HTTP status, the reason for the author of the backend, and `headers` of the answer."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self._headers = headers or {}

    def response(self) -> Response:
        """Return the answer to the request."""
        details = ProblemDetails(http.HTTPStatus(self.status).phrase, self.status, str(self))
        return Response(encode(details), self.status, {**self._headers, "cache-control": "no-store"}, CONTENT_TYPE)
