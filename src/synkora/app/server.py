"""Runs Synkora's server until a signal: `synkora serve`, alone or as one of several workers."""

import asyncio
import os
import secrets
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog
from starlette.routing import BaseRoute

from synkora.app.banner import greet
from synkora.app.health import make_app
from synkora.app.instance import Instance
from synkora.app.listening import open_sockets
from synkora.app.logs.configure import configure_logs, standard_output
from synkora.app.metrics.collector import ServerCollector
from synkora.app.metrics.page import metrics_route
from synkora.app.settings import Settings
from synkora.app.tracing import Tracing
from synkora.redis.uid import new_uid
from synkora.serving.server import Server
from synkora.serving.session_router import SharedSessions
from synkora.serving.systemd import notify
from synkora.serving.tls import TlsError, renew, tls_context

# The command imports only what the settings require: each import costs start time and memory.
if TYPE_CHECKING:
    from synkora.app.cluster import Cluster
    from synkora.app.console.console import Console
    from synkora.app.console.log_tail import LogTail
    from synkora.app.workers.seat import Seat
    from synkora.app.workers.worker import Worker

log = structlog.get_logger(__name__)


def run(settings: Settings, seat: "Seat | None" = None) -> None:
    """Serve until SIGINT or SIGTERM; with a `seat`, as one of several workers, also until the parent says so.

    Exits with 1 and a line on stderr if it cannot listen, or not with TLS.
    """
    log_tail = _log_tail(settings)
    instance_id = new_uid()
    worker = _worker(seat)
    number = None if seat is None else seat.number
    output = standard_output(settings.log_format, instance_id, number)
    repeats = configure_logs(
        settings.log_level, settings.log_format, tail=log_tail, output=output, instance_id=instance_id, worker=number
    )
    tracing = Tracing(instance_id, shutdown_timeout=settings.shutdown_timeout, worker=number)
    try:
        tls = _tls(settings)
        instance = Instance.from_settings(
            settings, id=instance_id, repeats=repeats, output=output, worker=worker, tracer=tracing.tracer
        )
    except (TlsError, ValueError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    if settings.admin_ui and settings.console_token is not None:
        from synkora.app.admin_ui.serve import serve_admin_ui

        serve_admin_ui(instance, settings.console_token.get_secret_value())
    siblings = None if worker is None else worker.siblings
    pages: list[BaseRoute] = [metrics_route(ServerCollector(instance), settings.metrics_token, siblings)]
    if settings.has_playground:
        from synkora.app.playground import playground_routes

        pages += playground_routes(settings)
    if settings.api_tokens:
        from synkora.app.api.routes import api_route

        pages.append(api_route(settings, instance, port=settings.api_port))
    console = None
    if log_tail is not None:
        from synkora.app.console.console import Console

        console = Console(settings, instance, log_tail=log_tail)
        pages += console.routes

    def started(sockets: list[socket.socket]) -> None:
        if console is not None:
            console.listens_on(sockets[0].getsockname()[1])
        if worker is None:
            greet(settings, sockets, output.write, tracing.problem)
            notify("READY=1")
        else:
            worker.greet = lambda: greet(settings, sockets, output.write, tracing.problem)
            worker.say_ready()

    async def before_close() -> None:
        notify("STOPPING=1")
        tracing.begin_stop()
        await instance.announce_stop()

    async def drain() -> None:
        if worker is None or worker.may_drain:
            seconds = settings.shutdown_drain if worker is None or worker.drain_time is None else worker.drain_time
            await asyncio.gather(instance.drain(seconds), server.drain_forwarded(seconds))

    sockets = open_sockets(settings) if worker is None else worker.sockets
    key = secrets.token_bytes(32)

    def announce() -> None:
        if instance.cluster is not None:
            from synkora.app.advertising import announcement

            instance.cluster.counters.announce(announcement(settings, sockets[0], key))

    def reload() -> None:
        _reload(settings, tls)
        announce()  # the certificate

    announce()
    # A single instance does not drain: without another instance, clients would only be disconnected for longer.
    may_drain = settings.shutdown_drain and instance.cluster is not None
    server = Server(
        instance.server,
        app=make_app(instance, pages, siblings),
        around=_around(tracing, instance, console, worker),
        drain=drain if may_drain else None,
        before_close=before_close,
        started=started,
        shutdown_timeout=settings.shutdown_timeout,
        keep_alive=settings.keep_alive,
        tls=tls,
        reload=reload if worker is None else None,  # the parent replaces the worker
        shared=None if instance.cluster is None else _shared_sessions(settings, instance, instance.cluster, key),
    )
    if server.forwarder is not None:
        instance.forwards = server.forwarder.counts
    if worker is not None:
        _tell_health(worker, instance)
        worker.serve_with(server)
    try:
        server.run(sockets)
    except OSError as error:
        print(f"The server cannot run: {error}", file=sys.stderr)
        sys.exit(1)
    if worker is None:
        log.info("stopped")


def _worker(seat: "Seat | None") -> "Worker | None":
    if seat is None:
        return None
    from synkora.app.workers.worker import Worker

    return Worker(seat)


def _tell_health(worker: "Worker", instance: Instance) -> None:
    from synkora.app.workers.health import TOPIC, WorkerHealth

    def answer() -> bytes:
        status, reason = instance.status
        collaboration = instance.collaboration
        return msgspec.msgpack.encode(
            WorkerHealth(
                worker.seat.number,
                worker.siblings.is_leaving,
                status,
                reason,
                collaboration.connections,
                collaboration.presence.local_projects,
            )
        )

    worker.siblings.answer(TOPIC, answer)


def _shared_sessions(settings: Settings, instance: Instance, cluster: "Cluster", key: bytes) -> SharedSessions:
    from synkora.app.workers.seat import FOLDER

    folder = os.environ.get(FOLDER)
    return SharedSessions(
        cluster.link.uid,
        key,
        cluster.counters.directory,
        workers=None if folder is None else Path(folder),
        most=settings.limit_clients,
        send_away=instance.send_away,
    )


def _log_tail(settings: Settings) -> "LogTail | None":
    if not settings.has_console:
        return None
    from synkora.app.console.log_tail import LogTail

    return LogTail()


@asynccontextmanager
async def _around(
    tracing: Tracing, instance: Instance, console: "Console | None", worker: "Worker | None"
) -> AsyncIterator[None]:
    with console or nullcontext():
        async with tracing, instance, worker or nullcontext():
            yield


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.ssl_certfile is None or settings.ssl_keyfile is None:
        return None
    return tls_context(settings.ssl_certfile, settings.ssl_keyfile)


def _reload(settings: Settings, tls: ssl.SSLContext | None) -> None:
    """Load a renewed certificate. Settings are read only at the start."""
    if tls is None or settings.ssl_certfile is None or settings.ssl_keyfile is None:
        log.info("reloaded", text="Nothing to reload: there is no certificate, and settings take a restart")
        return
    try:
        renew(tls, settings.ssl_certfile, settings.ssl_keyfile)
    except TlsError as error:
        log.warning("not_reloaded", problem=str(error))
    else:
        log.info("reloaded", text="The certificate has been read again")
