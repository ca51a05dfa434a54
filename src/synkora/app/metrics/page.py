"""The page that Prometheus reads."""

import hmac

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


def metrics_route(collector: Collector, token: str | None) -> Route:
    """`/metrics`: what `collector` has, and the process itself, for who brings the token, or for all without one."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    GCCollector(registry)

    async def metrics(request: Request) -> Response:
        if token is not None and not _has_token(request, token):
            return PlainTextResponse("METRICS_TOKEN is needed", 401, {"WWW-Authenticate": "Bearer"})
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    return Route("/metrics", metrics)


def _has_token(request: Request, token: str) -> bool:
    """Whether a request has the token as its bearer's (RFC 6750 section 2.1)."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
