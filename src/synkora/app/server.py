"""Synkora's server, wired from its settings."""

import errno
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Final

import structlog

from synkora.app.admin_ui.serve import serve_admin_ui
from synkora.app.banner import greet
from synkora.app.cluster import Cluster
from synkora.app.console.console import Console, has_console
from synkora.app.console.log_tail import LogTail
from synkora.app.logs.configure import configure_logs, standard_output
from synkora.app.logs.patterns import Patterns
from synkora.app.metrics.collector import ServerCollector
from synkora.app.metrics.loop_lag import LoopLag
from synkora.app.metrics.page import metrics_route
from synkora.app.playground import playground_routes
from synkora.app.routes import make_app
from synkora.app.settings import Settings
from synkora.collaboration.access import AccessPolicy, OpenAccess
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.collaboration.kept_sessions import SessionStore
from synkora.collaboration.limits import Limits
from synkora.collaboration.service import Collaboration
from synkora.engine.connection_limiter import ConnectionLimiter, ConnectionLimits
from synkora.engine.origins import Origins
from synkora.identity.handshake import Authenticator
from synkora.identity.tokens import Keyring
from synkora.redis.link import new_uid
from synkora.serving.listen import listen
from synkora.serving.server import Server
from synkora.serving.systemd import notify, passed_sockets
from synkora.serving.tls import TlsError, renew, tls_context
from synkora.sockets.internals import drain_in_groups, registry_of
from synkora.sockets.server import SocketServer

_NOT_ALLOWED: Final = (
    ": add it to ALLOWED_ORIGINS. If it is the origin of this server's own address, a proxy has replaced Host: have "
    "the proxy send X-Forwarded-Host, and name the proxy in TRUSTED_PROXIES"
)

log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Exits with 1, after a line on stderr, where it cannot listen, or not with TLS."""
    log_tail = LogTail() if has_console(settings) else None
    instance_id = new_uid()
    output = standard_output(settings.log_format, instance_id)
    repeats = configure_logs(
        settings.log_level, settings.log_format, tail=log_tail, output=output, instance_id=instance_id
    )
    failures = FailureBackoff(settings.limit_failed_sign_ins)
    try:
        tls = _tls(settings)
        policy = access_policy(settings)
        cluster = make_cluster(settings, failures, instance_id)
    except (TlsError, ValueError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    server = make_socket_server(settings, cluster)
    collaboration = make_collaboration(settings, server, policy, failures, cluster)
    if settings.admin_ui and settings.console_token is not None:
        serve_admin_ui(server, collaboration, settings.console_token.get_secret_value())
    patterns = Patterns(server.incidents)
    lag = LoopLag()
    metrics = metrics_route(
        ServerCollector(server, collaboration, lag, repeats.levels, cluster, output),
        None if settings.metrics_token is None else settings.metrics_token.get_secret_value(),
    )

    console = None
    if log_tail is not None:
        console = Console(
            settings, server, collaboration, lag=lag, log_tail=log_tail, cluster=cluster, instance_id=instance_id
        )

    def started(sockets: list[socket.socket]) -> None:
        if console is not None:
            console.listens_on(sockets[0].getsockname()[1])
        greet(settings, sockets, output.write)
        notify("READY=1")

    async def send_elsewhere() -> None:
        log.info("draining", clients=collaboration.connections, seconds=settings.shutdown_drain)
        parting = collaboration.begin_drain()
        await drain_in_groups(server, settings.shutdown_drain, parting.groups, parting.tell)

    async def say_goodbye() -> None:
        notify("STOPPING=1")
        log.info("stopping", clients=collaboration.connections)
        collaboration.say_goodbye()
        if cluster is not None:
            await cluster.leave()
        await collaboration.close()

    try:
        sockets = passed_sockets() or listen(settings.host, settings.port)
    except OSError as error:
        print(_explain(error, settings), file=sys.stderr)
        sys.exit(1)
    try:
        Server(
            server,
            app=make_app(
                collaboration,
                lambda: registry_of(server).is_closing,
                lambda: None if cluster is None else cluster.problem,
                [metrics, *playground_routes(settings), *(console.routes if console else ())],
            ),
            around=_around(lag, console, cluster),
            # Alone there would be nowhere to go: whoever is told to leave early would only be away for longer.
            drain=send_elsewhere if settings.shutdown_drain and cluster is not None else None,
            before_close=say_goodbye,
            started=started,
            shutdown_timeout=settings.shutdown_timeout,
            keep_alive=settings.keep_alive,
            tls=tls,
            reload=lambda: _reload(settings, tls),
        ).run(sockets)
    except OSError as error:
        print(f"The server cannot run: {error}", file=sys.stderr)
        sys.exit(1)
    patterns.tell()
    repeats.tell()
    log.info("stopped")


@asynccontextmanager
async def _around(lag: LoopLag, console: Console | None, cluster: Cluster | None) -> AsyncIterator[None]:
    with lag, console or nullcontext():
        async with nullcontext() if cluster is None else cluster:
            yield


def make_cluster(settings: Settings, failures: FailureBackoff, instance_id: str) -> Cluster | None:
    """What joins this instance to others, if it is one of several. Raises `ValueError`."""
    if settings.redis_url is None:
        return None
    return Cluster(settings.redis_url.get_secret_value(), settings.redis_prefix, failures, instance_id)


def make_socket_server(settings: Settings, cluster: Cluster | None) -> SocketServer:
    """The Socket.IO server that the settings describe."""
    return SocketServer(
        ping_interval=settings.ping_interval,
        ping_timeout=settings.ping_timeout,
        max_payload=settings.max_payload,
        connect_timeout=settings.connect_timeout,
        upgrade_timeout=settings.upgrade_timeout,
        path=settings.path,
        instance=settings.instance,
        transports=settings.transports,
        origins=Origins(settings.allowed_origins, hint=_NOT_ALLOWED),
        proxies=settings.trusted_proxies,
        max_outbox=settings.max_outbox,
        compression=settings.compression,
        compression_threshold=settings.compression_threshold,
        gate=ConnectionLimiter(
            ConnectionLimits(
                clients=settings.limit_clients,
                connections_per_address=settings.limit_connections_per_address,
                handshakes_per_address=settings.limit_handshakes_per_address,
            ),
            connections=None if cluster is None else cluster.tallies.addresses,
        ),
        adapter=None if cluster is None else cluster.adapter,
    )


def make_collaboration(
    settings: Settings, server: SocketServer, policy: AccessPolicy, failures: FailureBackoff, cluster: Cluster | None
) -> Collaboration:
    """Synkora's events on that server's main namespace."""
    keyring = Keyring(
        settings.secret.get_secret_value(), settings.accepted_secrets, session_cookie=settings.session_cookie
    )
    return Collaboration(
        server.of("/"),
        Authenticator(keyring),
        policy=policy,
        limits=Limits(
            volatile_rate=settings.limit_volatile_rate,
            edit_rate=settings.limit_edit_rate,
            other_rate=settings.limit_other_rate,
            byte_rate=settings.limit_byte_rate,
            user_byte_rate=settings.limit_user_byte_rate,
            projects=settings.limit_projects,
            connections=settings.limit_connections_per_user,
        ),
        failures=failures,
        incidents=server.incidents,
        presence=None if cluster is None else cluster.presence,
        sessions=session_store(settings, policy),
        user_connections=None if cluster is None else cluster.tallies.users,
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.ssl_certfile is None or settings.ssl_keyfile is None:
        return None
    return tls_context(settings.ssl_certfile, settings.ssl_keyfile)


def _reload(settings: Settings, tls: ssl.SSLContext | None) -> None:
    """Take a renewed certificate; settings are read at the start alone."""
    if tls is None or settings.ssl_certfile is None or settings.ssl_keyfile is None:
        log.info("reloaded", text="Nothing to reload: there is no certificate, and settings take a restart")
        return
    try:
        renew(tls, settings.ssl_certfile, settings.ssl_keyfile)
    except TlsError as error:
        log.warning("not_reloaded", problem=str(error))
    else:
        log.info("reloaded", text="The certificate has been read again")


def access_policy(settings: Settings) -> AccessPolicy:
    """Whom to ask who may join what. Raises `ValueError` with a line for who set it."""
    # Imported where they are needed: each brings a client library, whose import costs the start time and memory.
    variable = ""
    try:
        if settings.project_access == "http" and settings.app_url is not None:
            from synkora.access.http import HttpAccess

            variable = "APP_URL"
            return HttpAccess(settings.app_url, session_cookie=settings.session_cookie)
        if settings.project_access == "postgres" and settings.database_url is not None:
            from synkora.access.postgres import PostgresAccess

            variable = "DATABASE_URL"
            return PostgresAccess(settings.database_url.get_secret_value())
    except ValueError as error:
        raise ValueError(f"{variable} {error}") from None
    return OpenAccess()


def session_store(settings: Settings, policy: AccessPolicy) -> SessionStore | None:
    """Where to look up sessions that the app keeps in its database, if it is known and PostgreSQL."""
    if settings.database_url is None:
        return None
    from synkora.access.database import Database
    from synkora.access.postgres import PostgresAccess
    from synkora.access.sessions import PostgresSessions

    if isinstance(policy, PostgresAccess):
        return PostgresSessions(policy.database)
    try:
        return PostgresSessions(Database(settings.database_url.get_secret_value()))
    except ValueError:
        return None  # it is the app's own affair, in a file that is shared with it


def _explain(error: OSError, settings: Settings) -> str:
    place = f"{settings.host or 'every interface'}, port {settings.port}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {settings.port} is in use: stop what listens there, or take another by WS_PORT or --port"
        case errno.EACCES:
            return f"Port {settings.port} may not be opened by this user: set WS_PORT to one above 1023"
        case errno.EADDRNOTAVAIL:
            return f"{settings.host} is not an address of this machine: set WS_HOST to one, or leave it unset"
        case _ if isinstance(error, socket.gaierror):
            return f"{settings.host} cannot be resolved: set WS_HOST to an address of this machine, or leave it unset"
        case _:
            return f"Cannot listen on {place}: {error.strerror or error}"
