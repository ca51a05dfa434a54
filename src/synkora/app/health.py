"""The HTTP pages besides Socket.IO."""

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import BaseRoute, Route

from synkora.app.instance import Instance

SERVICE = "Synkora WebSocket Server"
_CHECKS = ("GET", "OPTIONS")  # HAProxy's default health check is OPTIONS


def make_app(instance: Instance, pages: Iterable[BaseRoute] = ()) -> Starlette:
    """Return an instance's HTTP application: health at `/health` and `/`, readiness at `/ready`, and `pages`."""

    async def health(_: Request) -> JSONResponse:
        status, reason = instance.status
        stats = instance.stats()
        return JSONResponse(
            {
                "status": status,
                **({"reason": reason} if reason else {}),
                "service": SERVICE,
                "uptime": round(instance.uptime, 3),
                "connections": stats.signed_in,
                "rooms": stats.projects,
            }
        )

    async def ready(_: Request) -> JSONResponse:
        reason = "the server is shutting down" if instance.is_closing else instance.problem
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
