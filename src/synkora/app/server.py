"""Synkora's server, wired from its settings."""

import errno
import socket
import sys
from typing import Final

import structlog

from synkora.app.logs import configure_logs
from synkora.app.routes import SERVICE, make_app
from synkora.app.serving import serve
from synkora.app.settings import Settings
from synkora.collaboration.service import Collaboration
from synkora.engine.origins import Origins
from synkora.identity.handshake import Authenticator
from synkora.identity.tokens import Keyring
from synkora.sockets.server import SocketServer

log = structlog.get_logger(__name__)

_RULE: Final = "=" * 60


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Exits with 1, after a line on stderr, where it cannot listen."""
    configure_logs(settings.log_level)
    server = SocketServer(
        ping_interval=settings.ping_interval,
        ping_timeout=settings.ping_timeout,
        max_payload=settings.max_payload,
        connect_timeout=settings.connect_timeout,
        upgrade_timeout=settings.upgrade_timeout,
        path=settings.path,
        transports=settings.transports,
        origins=Origins(settings.allowed_origins, hint=": add it to ALLOWED_ORIGINS"),
        max_outbox=settings.max_outbox,
        compression=settings.compression,
        compression_threshold=settings.compression_threshold,
    )
    keyring = Keyring(
        settings.secret.get_secret_value(), [secret.get_secret_value() for secret in settings.previous_secrets]
    )
    collaboration = Collaboration(server.of("/"), Authenticator(keyring))

    async def say_goodbye() -> None:
        log.info("stopping", clients=collaboration.connections)
        collaboration.say_goodbye()

    try:
        serve(
            server,
            host=settings.host,
            port=settings.port,
            app=make_app(collaboration),
            farewell=say_goodbye,
            started=lambda sockets: _print_banner(settings, sockets),
            shutdown_timeout=settings.shutdown_timeout,
        )
    except OSError as error:
        print(_explain(error, settings), file=sys.stderr)
        sys.exit(1)
    log.info("stopped")


def _print_banner(settings: Settings, sockets: list[socket.socket]) -> None:
    port = sockets[0].getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host or "localhost"
    lines = (
        _RULE,
        f"🚀 {SERVICE}",
        _RULE,
        f"✓ Server running on port: {port}",
        f"✓ Health check: http://{host}:{port}/health",
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
