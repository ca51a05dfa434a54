"""Synkora's server inside another web application, on its port."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Final

import structlog
from starlette.applications import Starlette

from synkora.app.banner import advise
from synkora.app.logs.configure import configure_logs, forward_library, standard_output
from synkora.app.logs.output import Output
from synkora.app.logs.patterns import Patterns
from synkora.app.logs.repeats import Repeats
from synkora.app.metrics.collector import ServerCollector
from synkora.app.metrics.loop_lag import LoopLag
from synkora.app.metrics.page import metrics_route
from synkora.app.routes import make_app
from synkora.app.server import access_policy, make_cluster, make_collaboration, make_socket_server
from synkora.app.settings import Settings, load_settings
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.engine.transports.asgi import AsgiEndpoint
from synkora.engine.transports.uvicorn_websocket import UvicornWebSocket
from synkora.redis.link import new_uid
from synkora.sockets.internals import polling_of, registry_of

_SWITCHED_OFF: Final = (
    "ENABLE_INTEGRATED_WEBSOCKET is false, so Socket.IO is not served here: start synkora serve, and name its address "
    "to the pages (NEXT_PUBLIC_WEBSOCKET_URL), or have the proxy send its path there"
)
_NOT_STARTED: Final = "The application does not enter the lifespan of the CollaborationServer that it has mounted"

log = structlog.get_logger(__name__)


class CollaborationServer:
    """Synkora's server as a part of another web application.

    That application mounts `asgi` at the path of Socket.IO, and enters `lifespan`. uvicorn can be given
    `websocket_protocol`. `pages` has `/health`, `/ready` and `/metrics`, to be mounted wherever they are wanted.
    Without `settings` they are read as `synkora serve` reads them. Log lines are written as it writes them, unless the
    application has configured structlog. Raises `SettingsError` and `ValueError` for settings that cannot be used.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings = settings or load_settings()
        instance_id = new_uid()
        self._repeats = Repeats()
        self._output: Output | None = None
        if structlog.is_configured():
            forward_library(settings.log_level)
        else:
            self._output = standard_output(settings.log_format, instance_id)
            self._repeats = configure_logs(
                settings.log_level, settings.log_format, libraries=(), output=self._output, instance_id=instance_id
            )
        failures = FailureBackoff(settings.limit_failed_sign_ins)
        self._cluster = cluster = make_cluster(settings, failures, instance_id)
        self._server = server = make_socket_server(settings, cluster)
        self._collaboration = make_collaboration(settings, server, access_policy(settings), failures, cluster)
        self._patterns = Patterns(server.incidents)
        self._lag = LoopLag()
        self._stopping: asyncio.Task[None] | None = None
        registry_of(server).obstacle = (500, _NOT_STARTED) if settings.is_integrated else (404, _SWITCHED_OFF)
        self.asgi = AsgiEndpoint(registry_of(server), polling_of(server), self.lifespan)
        self.pages = self._make_pages()

    @property
    def websocket_protocol(self) -> Callable[..., asyncio.Protocol]:
        """What uvicorn takes as `ws`, to run an application that `asgi` is mounted in faster than ASGI can be."""
        return functools.partial(UvicornWebSocket, registry_of(self._server), self._begin_to_stop)

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncIterator[None]:
        """What Starlette and FastAPI take as `lifespan`: joins the other instances, and says goodbye at the end."""
        if not self._settings.is_integrated:
            log.warning("caution", text=_SWITCHED_OFF)
            yield
            return
        log.info("integrated", path=self._settings.path)
        advise(self._settings)
        with self._lag:
            async with self._cluster or nullcontext():
                registry_of(self._server).obstacle = None
                try:
                    yield
                finally:
                    await self._begin_to_stop()
        self._patterns.tell()
        self._repeats.tell()

    def _begin_to_stop(self) -> asyncio.Task[None]:
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
        return self._stopping

    async def _stop(self) -> None:
        registry_of(self._server).shut()
        log.info("stopping", clients=self._collaboration.connections)
        self._collaboration.say_goodbye()
        if self._cluster is not None:
            await self._cluster.leave()
        await self._collaboration.close()
        await self._server.close(self._settings.shutdown_timeout)

    def _make_pages(self) -> Starlette:
        settings, registry = self._settings, registry_of(self._server)
        token = None if settings.metrics_token is None else settings.metrics_token.get_secret_value()
        collector = ServerCollector(
            self._server, self._collaboration, self._lag, self._repeats.levels, self._cluster, self._output
        )
        return make_app(
            self._collaboration, lambda: registry.is_closing, self._problem, [metrics_route(collector, token)]
        )

    def _problem(self) -> str | None:
        obstacle = registry_of(self._server).obstacle
        if obstacle is not None and self._settings.is_integrated:
            return obstacle[1]
        return None if self._cluster is None else self._cluster.problem
