"""The pages `/`, `/health` and `/ready`, beside those of other modules."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import BaseRoute, Route

from synkora.app.instance import Instance, Status

if TYPE_CHECKING:
    from synkora.app.workers.siblings import Siblings

SERVICE = "Synkora WebSocket Server"
_CHECKS = ("GET", "OPTIONS")  # HAProxy's default health check is OPTIONS


def make_app(instance: Instance, pages: Iterable[BaseRoute] = (), siblings: "Siblings | None" = None) -> Starlette:
    """Return an instance's HTTP application: health at `/health` and `/`, readiness at `/ready`, and `pages`.

    With `siblings`, health is that of all workers.
    """

    of_all = None
    if siblings is not None:
        from synkora.app.workers.health import shared_health

        of_all = shared_health(siblings)

    async def health(_: Request) -> JSONResponse:
        if siblings is not None and of_all is not None:
            whole = await of_all()
            counts = {"connections": whole.connections, "rooms": whole.projects, "workers": whole.workers}
            return _health(Status(whole.status, whole.reason), siblings.uptime, counts)
        stats = instance.stats()
        return _health(instance.status, instance.uptime, {"connections": stats.signed_in, "rooms": stats.projects})

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


def _health(status: Status, uptime: float, counts: dict[str, int]) -> JSONResponse:
    reason = {} if status.reason is None else {"reason": status.reason}
    return JSONResponse({"status": status.word, **reason, "service": SERVICE, "uptime": round(uptime, 3), **counts})
