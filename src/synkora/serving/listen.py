"""Opens the sockets that a server listens on, for IPv4 and IPv6."""

import errno
import socket
from typing import Any, Final

BACKLOG: Final = 4096  # connections: ten thousand clients may reconnect at once

_LAST_PORT: Final = 65535

_SocketAddress = tuple[Any, ...]  # host, port, and for IPv6 two more (Python's socket, "Socket families")


def listen(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """Listen on `host`, or if it is empty on every interface, IPv4 and IPv6; port 0 selects a free port.

    Several `shared` calls of one user may open the same port: the kernel spreads the connections (SO_REUSEPORT).
    Raises `OSError`, for example if the port is in use or the address is not this machine's.
    """
    if not 0 <= port <= _LAST_PORT:
        raise OSError(errno.EINVAL, f"{port} is no port: a port is 0 to {_LAST_PORT}")
    sockets: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            sockets.append(_bind(family, address, sockets[0].getsockname()[1] if sockets else port, shared=shared))
    except OSError:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, _SocketAddress]]:
    if host:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except UnicodeError:  # a label of the name is empty or too long
            raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
        return list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    every = [(socket.AF_INET, ("0.0.0.0", port)), (socket.AF_INET6, ("::", port))]  # noqa: S104  # as asked for
    return every if _has_ipv6() else every[:1]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _bind(family: socket.AddressFamily, address: _SocketAddress, port: int, *, shared: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address[0], port, *address[2:]))  # flow info and scope of IPv6 follow the port
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound
