"""Synkora's server, wired from its settings."""

import errno
import socket
import ssl
import sys
from typing import Final

import structlog

from synkora.access import HttpAccess, PostgresAccess
from synkora.app.logs import configure_logs
from synkora.app.patterns import Patterns
from synkora.app.routes import SERVICE, make_app
from synkora.app.serving import serve
from synkora.app.settings import Settings
from synkora.app.tls import TlsError, tls_context
from synkora.collaboration.access import AccessPolicy, OpenAccess
from synkora.collaboration.limits import Limits
from synkora.collaboration.service import Collaboration
from synkora.engine.failures import Failures
from synkora.engine.gate import Gate, GateSettings
from synkora.engine.origins import Origins
from synkora.identity.handshake import Authenticator
from synkora.identity.tokens import Keyring
from synkora.sockets.server import SocketServer

log = structlog.get_logger(__name__)

_RULE: Final = "=" * 60
_WHO_MAY_JOIN: Final = {
    "open": "everyone signed in may join every project",
    "http": "the web app at APP_URL says who may join a project",
    "postgres": "the database at DATABASE_URL says who may join a project",
}


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Exits with 1, after a line on stderr, where it cannot listen, or not with TLS."""
    configure_logs(settings.log_level)
    try:
        tls = _tls(settings)
        policy = _policy(settings)
    except (TlsError, ValueError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    server = SocketServer(
        ping_interval=settings.ping_interval,
        ping_timeout=settings.ping_timeout,
        max_payload=settings.max_payload,
        connect_timeout=settings.connect_timeout,
        upgrade_timeout=settings.upgrade_timeout,
        path=settings.path,
        transports=settings.transports,
        origins=Origins(settings.allowed_origins, hint=": add it to ALLOWED_ORIGINS"),
        proxies=settings.trusted_proxies,
        max_outbox=settings.max_outbox,
        compression=settings.compression,
        compression_threshold=settings.compression_threshold,
        gate=Gate(
            GateSettings(
                clients=settings.limit_clients,
                connections_per_address=settings.limit_connections_per_address,
                handshakes_per_address=settings.limit_handshakes_per_address,
            )
        ),
    )
    keyring = Keyring(
        settings.secret.get_secret_value(), [secret.get_secret_value() for secret in settings.previous_secrets]
    )
    collaboration = Collaboration(
        server.of("/"),
        Authenticator(keyring),
        policy=policy,
        limits=Limits(
            volatile_rate=settings.limit_volatile_rate,
            edit_rate=settings.limit_edit_rate,
            other_rate=settings.limit_other_rate,
            projects=settings.limit_projects,
            connections=settings.limit_connections_per_user,
        ),
        failures=Failures(settings.limit_failed_sign_ins),
        incidents=server.incidents,
    )
    patterns = Patterns(server.incidents)

    async def say_goodbye() -> None:
        log.info("stopping", clients=collaboration.connections)
        collaboration.say_goodbye()
        await collaboration.close()

    try:
        serve(
            server,
            host=settings.host,
            port=settings.port,
            app=make_app(collaboration, lambda: server.registry.is_closing),
            farewell=say_goodbye,
            started=lambda sockets: _greet(settings, sockets),
            shutdown_timeout=settings.shutdown_timeout,
            tls=tls,
        )
    except OSError as error:
        print(_explain(error, settings), file=sys.stderr)
        sys.exit(1)
    patterns.tell()
    log.info("stopped")


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.ssl_certfile is None or settings.ssl_keyfile is None:
        return None
    return tls_context(settings.ssl_certfile, settings.ssl_keyfile)


def _policy(settings: Settings) -> AccessPolicy:
    """Whom to ask who may join what. Raises `ValueError` with a line for who set it."""
    variable = ""
    try:
        if settings.project_access == "http" and settings.app_url is not None:
            variable = "APP_URL"
            return HttpAccess(settings.app_url)
        if settings.project_access == "postgres" and settings.database_url is not None:
            variable = "DATABASE_URL"
            return PostgresAccess(settings.database_url.get_secret_value())
    except ValueError as error:
        raise ValueError(f"{variable} {error}") from None
    return OpenAccess()


def _greet(settings: Settings, sockets: list[socket.socket]) -> None:
    _print_banner(settings, sockets)
    log.info("project_access", setting=settings.project_access, text=_WHO_MAY_JOIN[settings.project_access])
    for line in settings.cautions():
        log.warning("caution", text=line)


def _print_banner(settings: Settings, sockets: list[socket.socket]) -> None:
    port = sockets[0].getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host or "localhost"
    scheme = "http" if settings.ssl_certfile is None else "https"
    lines = (
        _RULE,
        f"🚀 {SERVICE}",
        _RULE,
        f"✓ Server running on port: {port}",
        f"✓ Health check: {scheme}://{host}:{port}/health",
        f"✓ Allowed origins: {', '.join(settings.allowed_origins)}",
        "✓ Ready for connections!",
        _RULE,
    )
    print("\n".join(lines), flush=True)


def _explain(error: OSError, settings: Settings) -> str:
    place = f"{settings.host or 'every interface'}, port {settings.port}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {settings.port} is in use: stop what listens there, or set WS_PORT to another port"
        case errno.EACCES:
            return f"Port {settings.port} may not be opened by this user: set WS_PORT to one above 1023"
        case errno.EADDRNOTAVAIL:
            return f"{settings.host} is not an address of this machine: set WS_HOST to one, or leave it unset"
        case _ if isinstance(error, socket.gaierror):
            return f"{settings.host} cannot be resolved: set WS_HOST to an address of this machine, or leave it unset"
        case _:
            return f"Cannot listen on {place}: {error.strerror or error}"
