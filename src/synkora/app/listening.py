"""Explains why a server cannot listen on its address."""

import errno
import socket

from synkora.app.settings import Settings


def listen_problem(error: OSError, settings: Settings) -> tuple[str, str]:
    """Return the problem and advice, each without a full stop. The problem begins with the host, or with `port`."""
    host, port = settings.host, settings.port
    address = "Set WS_HOST to an address of this machine, or leave it unset"
    if isinstance(error, socket.gaierror):
        return f"{host} cannot be resolved", address
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} is in use", "Stop what listens there, or take another by WS_PORT or --port"
        case errno.EACCES:
            return f"port {port} may not be opened by this user", "Set WS_PORT to one above 1023"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine", "Set WS_HOST to one, or leave it unset"
        case _:
            return f"port {port} cannot be opened: {error.strerror or type(error).__name__}", address
