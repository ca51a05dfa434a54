"""The lines that the server writes at its start."""

import socket
from collections.abc import Callable
from typing import Final

import structlog

from synkora import __version__
from synkora.app.health import SERVICE
from synkora.app.settings import Settings
from synkora.app.static_pages import CONSOLE, PLAYGROUND, is_built

log = structlog.get_logger(__name__)

_RULE: Final = "=" * 60
_WHO_MAY_JOIN: Final = {
    "open": "everyone signed in may join every project",
    "http": "the web app at APP_URL says who may join a project",
    "postgres": "the database at DATABASE_URL says who may join a project",
}


def greet(settings: Settings, sockets: list[socket.socket], write: Callable[[str], None], *cautions: str) -> None:
    """Write where the server listens, who may join, and advice on settings; `write` takes the banner.

    `cautions` are more advice.
    """
    if settings.log_format == "text":
        write(_banner(settings, sockets))
    else:
        log.info("started", port=_port(sockets), version=__version__, allowedOrigins=settings.allowed_origins)
    if settings.has_playground and is_built(PLAYGROUND):
        log.info("playground", address=f"{_address(settings, sockets)}/playground")
    if settings.has_console and is_built(CONSOLE):
        log.info("console", address=f"{_address(settings, sockets)}/console")
    advise(settings, *cautions)


def advise(settings: Settings, *cautions: str) -> None:
    """Log who may join, and advice on settings, with further `cautions`."""
    log.info("project_access", setting=settings.project_access, text=_WHO_MAY_JOIN[settings.project_access])
    for line in (*settings.cautions(), *filter(None, cautions)):
        log.warning("caution", text=line)


def _banner(settings: Settings, sockets: list[socket.socket]) -> str:
    lines = (
        _RULE,
        f"🚀 {SERVICE}",
        _RULE,
        f"✓ Server running on port: {_port(sockets)}",
        f"✓ Health check: {_address(settings, sockets)}/health",
        f"✓ Allowed origins: {', '.join(settings.allowed_origins)}",
        "✓ Ready for connections!",
        _RULE,
    )
    return "\n".join(lines)


def _port(sockets: list[socket.socket]) -> int:
    port: int = sockets[0].getsockname()[1]
    return port


def _address(settings: Settings, sockets: list[socket.socket]) -> str:
    """The server's address for programs on this machine."""
    scheme = "http" if settings.ssl_certfile is None else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host or "localhost"
    return f"{scheme}://{host}:{_port(sockets)}"
