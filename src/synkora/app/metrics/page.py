"""The page `/metrics`: its token, its two formats, and a page that is cached for a second."""

import asyncio
import hmac
from time import monotonic
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from synkora.protocol.headers import LONGEST_LIST

if TYPE_CHECKING:
    from synkora.app.workers.siblings import Siblings

KEPT: Final = 1.0  # seconds that a page is cached

_OPEN_METRICS: Final = "application/openmetrics-text"


def metrics_route(collector: Collector, token: SecretStr | None, siblings: "Siblings | None" = None) -> Route:
    """`/metrics`: the metrics of `collector` and of the process. Without a `token` the page is public.

    With `siblings`, the page has the metrics of all workers.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    GCCollector(registry)
    if siblings is not None:
        from synkora.app.workers.metrics import answer_metrics, metrics_of_all

        answer_metrics(siblings, registry)
    pages: dict[str, tuple[float, bytes]] = {}
    making = asyncio.Lock()  # the other workers take a while to answer: requests meanwhile get the same page

    async def metrics(request: Request) -> Response:
        if token is not None and not _has_token(request, token.get_secret_value()):
            return PlainTextResponse("METRICS_TOKEN is needed", 401, {"WWW-Authenticate": "Bearer"})
        encode, content_type = choose_encoder(_format(request.headers.get("accept", "")))
        async with making:
            made, page = pages.get(content_type, (0.0, b""))
            if not page or monotonic() - made >= KEPT:
                whole = registry if siblings is None else await metrics_of_all(siblings)
                made, page = pages[content_type] = monotonic(), encode(whole)
        return Response(page, headers={"Content-Type": content_type})

    return Route("/metrics", metrics)


def _format(accept: str) -> str:
    """Return one of two formats. The versions that clients may name would multiply the cached pages."""
    if len(accept) > LONGEST_LIST:
        return ""
    try:
        _, content_type = choose_encoder(accept)
    except TypeError:  # for an invalid version
        return ""
    return _OPEN_METRICS if content_type.startswith(_OPEN_METRICS) else ""


def _has_token(request: Request, token: str) -> bool:
    """Whether a request has this bearer token (RFC 6750 section 2.1)."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
