"""Opens the sockets that the settings name, or explains why they cannot be opened."""

import errno
import socket
import sys

from synkora.app.settings import Settings
from synkora.serving.listen import listen
from synkora.serving.systemd import passed_sockets


def open_sockets(settings: Settings) -> list[socket.socket]:
    """Return the service manager's listening sockets, or else new ones, and those of API_PORT.

    Exits with 1 and a line on stderr if it cannot listen.
    """
    sockets = _passed() or _open(settings, settings.port, "WS_PORT")
    return sockets if settings.api_port is None else [*sockets, *_open(settings, settings.api_port, "API_PORT")]


def open_shared_sockets(settings: Settings, count: int) -> list[list[socket.socket]]:
    """Return `count` groups of sockets that share the ports, or else the service manager's sockets as the only group.

    Exits with 1 and a line on stderr if it cannot listen.
    """
    if passed := _passed():
        return [passed if settings.api_port is None else [*passed, *_open(settings, settings.api_port, "API_PORT")]]
    ports = [_free(settings, settings.port, "WS_PORT")]
    if settings.api_port is not None:
        ports.append(_free(settings, settings.api_port, "API_PORT"))
    try:
        return [[each for port in ports for each in listen(settings.host, port, shared=True)] for _ in range(count)]
    except OSError as error:
        sys.exit(f"Cannot listen: {error.strerror}")


def _free(settings: Settings, port: int, variable: str) -> int:
    """Return the port, or a free one for 0: shared sockets alone would not notice another server of the same user."""
    probes = _open(settings, port, variable)
    found: int = probes[0].getsockname()[1]
    for probe in probes:
        probe.close()
    return found


def _passed() -> list[socket.socket]:
    try:
        return passed_sockets()
    except OSError as error:
        sys.exit(f"Cannot listen: {error.strerror}")


def _open(settings: Settings, port: int, variable: str) -> list[socket.socket]:
    try:
        return listen(settings.host, port)
    except OSError as error:
        problem, advice = listen_problem(error, settings.host, port, variable)
        problem = f"P{problem[1:]}" if problem.startswith("port ") else problem  # a host is written as configured
        sys.exit(f"{problem}: {advice[0].lower()}{advice[1:]}")


def listen_problem(error: OSError, host: str, port: int, variable: str = "WS_PORT") -> tuple[str, str]:
    """Return the problem and advice, each without a full stop. The problem begins with the host, or with `port`.

    `variable` is the setting of the port.
    """
    option = "WS_PORT or --port" if variable == "WS_PORT" else variable
    address = "Set WS_HOST to an address of this machine, or leave it unset"
    if isinstance(error, socket.gaierror):
        return f"{host} cannot be resolved", address
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} is in use", f"Stop what listens there, or take another by {option}"
        case errno.EACCES:
            return f"port {port} may not be opened by this user", f"Set {variable} to one above 1023"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine", "Set WS_HOST to one, or leave it unset"
        case _:
            return f"port {port} cannot be opened: {error.strerror or type(error).__name__}", address
