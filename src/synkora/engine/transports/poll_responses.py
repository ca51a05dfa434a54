"""The responses to requests of long-polling: headers for pages of other origins, preflights, compression.

Sources: Fetch standard, "CORS protocol"; Private Network Access, "CORS preflight"; RFC 9110 sections 8.4
(Content-Encoding) and 12.5.5 (Vary).
"""

from typing import Final, NamedTuple

from synkora.engine.handshake import HandshakeRefused
from synkora.engine.message import LARGEST_COMPRESSED, Message
from synkora.engine.origins import is_same_origin
from synkora.engine.request import Request
from synkora.engine.settings import EngineSettings
from synkora.protocol.deflate import accepts_gzip, compressed_blocks
from synkora.protocol.engineio import gzip_payload, join_payload

HeaderPairs = list[tuple[bytes, bytes]]

_NOT_STORED: Final = (b"cache-control", b"no-store")
_PAYLOAD: Final[HeaderPairs] = [(b"content-type", b"text/plain; charset=UTF-8"), _NOT_STORED]
_ACCEPTED: Final[HeaderPairs] = [(b"content-type", b"text/html"), _NOT_STORED]  # Socket.IO's response to a POST
_JSON: Final[HeaderPairs] = [(b"content-type", b"application/json")]
_PRIVATE_NETWORK: Final = (b"access-control-allow-private-network", b"true")
_ENCODING_MATTERS: Final = (b"vary", b"Accept-Encoding")
_GZIPPED: Final = (b"content-encoding", b"gzip")


class PollResponse(NamedTuple):
    """An HTTP response. The sender adds its length."""

    status: int
    headers: HeaderPairs
    body: bytes


class PollResponses:
    """Makes the responses of a server."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        cors = settings.cors
        self._preflight: HeaderPairs = [
            (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
            (b"access-control-max-age", b"%d" % cors.max_age),
        ]
        self._allowed = None if cors.allow_headers is None else ", ".join(cors.allow_headers)
        self._cors_headers: HeaderPairs = [(b"vary", b"Origin")]
        if cors.credentials:
            self._cors_headers.append((b"access-control-allow-credentials", b"true"))
        if cors.expose_headers:
            exposed = ", ".join(cors.expose_headers).encode("latin-1")
            self._cors_headers.append((b"access-control-expose-headers", exposed))

    def payload(self, request: Request, messages: list[Message]) -> PollResponse:
        """Respond to a poll: gzipped if the payload is large, the client accepts gzip and compression is on.

        A payload whose messages are all to be sent uncompressed is not gzipped.
        """
        body = join_payload([message.polling_part() for message in messages])
        headers = _PAYLOAD + self._cors(request)
        settings = self._settings
        is_large = settings.compression and len(body) >= settings.compression_threshold
        if is_large and any(message.compress for message in messages):
            headers.append(_ENCODING_MATTERS)
            if accepts_gzip(request.headers.get("accept-encoding") or ""):
                headers.append(_GZIPPED)
                body = _gzip(body, messages, settings.compression_threshold)
        return PollResponse(200, headers, body)

    def accepted(self, request: Request) -> PollResponse:
        """Respond to a POST after its packets have been handled."""
        return PollResponse(200, _ACCEPTED + self._cors(request), b"ok")

    def preflight(self, request: Request) -> PollResponse:
        """Respond to a browser's CORS preflight request."""
        headers = self._preflight + self._cors(request)
        wanted = request.headers.get("access-control-request-headers") if self._allowed is None else self._allowed
        if wanted:
            headers.append((b"access-control-allow-headers", wanted.encode("latin-1")))
        if request.headers.get("access-control-request-private-network") == "true" and self._allows(request):
            headers.append(_PRIVATE_NETWORK)
        return PollResponse(204, headers, b"")

    def refusal(self, request: Request, refused: HandshakeRefused) -> PollResponse:
        """Respond to a refused request."""
        headers = _JSON + self._cors(request)
        if refused.retry_after:
            headers.append((b"retry-after", str(refused.retry_after).encode()))
        return PollResponse(refused.status, headers, refused.body)

    def _allows(self, request: Request) -> bool:
        return request.origin is not None and self._settings.origins.allows(request)

    def _cors(self, request: Request) -> HeaderPairs:
        """Return the CORS headers that let a page of an allowed origin read the response."""
        origin = request.origin
        if origin is None or is_same_origin(request) or not self._allows(request):
            return []
        return [(b"access-control-allow-origin", origin.encode("latin-1")), *self._cors_headers]


def _gzip(payload: bytes, messages: list[Message], threshold: int) -> bytes:
    """Compress large messages once for all recipients, or the payload of small messages for this client alone."""
    are_small = all(message.compress and len(message.polling_part()) < threshold for message in messages)
    if are_small and len(payload) <= LARGEST_COMPRESSED:
        return gzip_payload(payload, [compressed_blocks(payload)])
    return gzip_payload(payload, [message.polling_blocks(threshold) for message in messages])
