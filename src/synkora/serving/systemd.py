"""What systemd, or another service manager of its kind, hands to the server and is told by it."""

import errno
import os
import socket
from typing import Final

_FIRST_PASSED: Final = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START


def passed_sockets() -> list[socket.socket]:
    """The sockets that the process was started with, listening already: none where there is no socket unit.

    They can be taken once. Raises `OSError` where one is not a TCP socket that listens. (sd_listen_fds(3))
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
    """Tell the service manager how far the server is, such as `READY=1`; nothing where none asks. (sd_notify(3))"""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
        except OSError:
            pass  # who asked is gone, and the server goes on without them
