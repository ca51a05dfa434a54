"""Synkora's server inside another web application, on the application's port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from starlette.routing import BaseRoute

from synkora.app.banner import advise
from synkora.app.health import make_app
from synkora.app.instance import Instance
from synkora.app.logs.configure import configure_logs, forward_library, standard_output
from synkora.app.metrics.collector import ServerCollector
from synkora.app.metrics.page import metrics_route
from synkora.app.settings import Settings, load_settings
from synkora.app.tracing import tracer_of_the_application
from synkora.engine.transports.asgi import AsgiEndpoint
from synkora.engine.transports.uvicorn_websocket import protocol_for
from synkora.redis.uid import new_uid
from synkora.sockets.internals import polling_of, registry_of, start

_SWITCHED_OFF: Final = (
    "ENABLE_INTEGRATED_WEBSOCKET is false, so Socket.IO is not served here: start synkora serve, and name its address "
    "to the pages (NEXT_PUBLIC_WEBSOCKET_URL), or have the proxy send its path there"
)
_NOT_STARTED: Final = "The application does not enter the lifespan of the CollaborationServer that it has mounted"

log = structlog.get_logger(__name__)


class CollaborationServer:
    """Synkora's server as a part of another web application.

    That application mounts `asgi` at the path of Socket.IO, and enters `lifespan`. uvicorn can be given
    `websocket_protocol`. `pages` has `/health`, `/ready`, `/metrics` and, with API_TOKEN, `/api/v1`, to be mounted
    wherever they are wanted. Without `settings`, settings are read like those of `synkora serve`. Log lines have the
    same form as there, unless the application has configured structlog. Raises `SettingsError` and `ValueError` for
    settings that cannot be used.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings = settings or load_settings()
        instance_id = new_uid()
        repeats, output = None, None
        if structlog.is_configured():
            forward_library(settings.log_level)
        else:
            output = standard_output(settings.log_format, instance_id)
            repeats = configure_logs(
                settings.log_level, settings.log_format, libraries=(), output=output, instance_id=instance_id
            )
        self._instance = instance = Instance.from_settings(
            settings, id=instance_id, repeats=repeats, output=output, tracer=tracer_of_the_application()
        )
        self._stopping: asyncio.Task[None] | None = None
        registry = registry_of(instance.server)
        registry.unavailable = (500, _NOT_STARTED) if settings.is_integrated else (404, _SWITCHED_OFF)
        self.asgi = AsgiEndpoint(registry, polling_of(instance.server), self.lifespan)
        pages: list[BaseRoute] = [metrics_route(ServerCollector(instance), settings.metrics_token)]
        if settings.api_tokens:
            from synkora.app.api.routes import api_route

            pages.append(api_route(settings, instance))
        self.pages = make_app(instance, pages)

    @property
    def websocket_protocol(self) -> type[asyncio.Protocol]:
        """The class for uvicorn's `ws` option: WebSockets of the mounted `asgi` then bypass ASGI and are faster."""
        return protocol_for(registry_of(self._instance.server), self._begin_to_stop)

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncIterator[None]:
        """The lifespan for Starlette and FastAPI: joins the cluster, and leaves it at the end."""
        if not self._settings.is_integrated:
            log.warning("caution", text=_SWITCHED_OFF)
            yield
            return
        log.info("integrated", path=self._settings.path)
        advise(self._settings)
        await start(self._instance.server)
        try:
            async with self._instance as instance:
                registry_of(instance.server).unavailable = None
                try:
                    yield
                finally:
                    await self._begin_to_stop()
        except BaseException:
            if self._stopping is None:  # the instance could not start: another one may need its files
                await self._instance.server.close(0)
            raise

    def _begin_to_stop(self) -> asyncio.Task[None]:
        if self._stopping is None:
            stop = self._instance.stop(self._settings.shutdown_timeout)
            self._stopping = asyncio.get_running_loop().create_task(stop)
        return self._stopping
