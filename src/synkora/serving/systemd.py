"""The protocol with systemd or a similar service manager: passed sockets and notifications."""

import errno
import os
import socket
from typing import Final

_FIRST_PASSED: Final = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START


def passed_sockets() -> list[socket.socket]:
    """Return the listening sockets that the process was started with; an empty list without a socket unit.

    A second call returns none. Raises `OSError` for a socket that is not a listening TCP socket. (sd_listen_fds(3))
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    return [_take(number) for number in range(_FIRST_PASSED, _FIRST_PASSED + int(count))]


def _take(number: int) -> socket.socket:
    os.set_inheritable(number, False)
    passed = socket.socket(fileno=number)
    is_tcp = passed.family in (socket.AF_INET, socket.AF_INET6) and passed.type == socket.SOCK_STREAM
    if not is_tcp or not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        passed.close()
        raise OSError(errno.EINVAL, "the socket that was passed has to be one of TCP that listens (ListenStream=)")
    passed.setblocking(False)
    return passed


def notify(state: str) -> None:
    """Send a state such as `READY=1` to the service manager, if there is one. (sd_notify(3))"""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
        except OSError:
            pass  # the service manager has gone; the server continues
