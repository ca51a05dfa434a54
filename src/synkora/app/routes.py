"""The pages beside Socket.IO."""

import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from synkora.collaboration.service import Collaboration

SERVICE = "Synkora WebSocket Server"


def make_app(collaboration: Collaboration, is_closing: Callable[[], bool]) -> Starlette:
    """The server's HTTP application: its health at `/health` and `/`, 404 for anything else."""
    started = time.monotonic()

    async def health(_: Request) -> JSONResponse:
        return JSONResponse(
            {
                "status": "shutting down" if is_closing() else "healthy",
                "service": SERVICE,
                "uptime": round(time.monotonic() - started, 3),
                "connections": collaboration.connections,
                "rooms": collaboration.presence.projects,
            }
        )

    async def not_found(_: Request, __: Exception) -> PlainTextResponse:
        return PlainTextResponse("Not Found", 404)

    app = Starlette(routes=[Route("/", health), Route("/health", health)], exception_handlers={405: not_found})
    app.router.redirect_slashes = False
    return app
