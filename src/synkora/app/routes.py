"""The pages beside Socket.IO."""

import time
from collections.abc import Callable, Iterable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import BaseRoute, Route

from synkora.app.status import status_of
from synkora.collaboration.service import Collaboration

SERVICE = "Synkora WebSocket Server"
_CHECKS = ("GET", "OPTIONS")  # HAProxy's default health check is OPTIONS


def make_app(
    collaboration: Collaboration,
    is_closing: Callable[[], bool],
    problem: Callable[[], str | None],
    pages: Iterable[BaseRoute] = (),
) -> Starlette:
    """The server's HTTP application: health at `/health` and `/`, readiness at `/ready`, `pages`, 404 for all else.

    `problem` says why the server is not joined to the others as it should be, and is None where all is well.
    """
    started = time.monotonic()

    async def health(_: Request) -> JSONResponse:
        status, reason = status_of(is_closing=is_closing(), problem=problem())
        return JSONResponse(
            {
                "status": status,
                **({"reason": reason} if reason else {}),
                "service": SERVICE,
                "uptime": round(time.monotonic() - started, 3),
                "connections": collaboration.connections,
                "rooms": collaboration.presence.project_count,
            }
        )

    async def ready(_: Request) -> JSONResponse:
        reason = "the server is shutting down" if is_closing() else problem()
        if reason:
            return JSONResponse({"status": "not ready", "reason": reason}, 503)
        return JSONResponse({"status": "ready"})

    async def not_found(_: Request, __: Exception) -> PlainTextResponse:
        return PlainTextResponse("Not Found", 404)

    routes = [
        Route("/", health, methods=_CHECKS),
        Route("/health", health, methods=_CHECKS),
        Route("/ready", ready),
        *pages,
    ]
    app = Starlette(routes=routes, exception_handlers={405: not_found})
    app.router.redirect_slashes = False
    return app
