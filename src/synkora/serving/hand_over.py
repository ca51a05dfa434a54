"""Passes connections to other workers of this machine, with what has been read of them (unix(7), SCM_RIGHTS)."""

import array
import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from synkora.engine.logs import Log

#: Bytes passed with a connection. A connection with more unread bytes is not passed, and its request is forwarded.
MAX_DATA: Final = 65_536
_BACKLOG: Final = 4096
_PATIENCE: Final = 5  # seconds for the connection that another worker passes
_ACCEPTED_AT_ONCE: Final = 50  # in a turn of the event loop
_ACCEPT_AGAIN: Final = 1.0  # seconds after an error
_FD_SIZE: Final = array.array("i").itemsize
#: A message of this type arrives whole or not at all. Linux alone has it.
_KIND: Final = getattr(socket, "SOCK_SEQPACKET", None)

log = Log(__name__)


class WorkerSockets:
    """The Unix sockets of a machine's workers, in one folder that only their user may enter, named by their tags.

    `take` gets each connection that another worker passes, and the bytes that were read of it.
    """

    def __init__(self, folder: Path, tag: str, take: Callable[[socket.socket, bytes], None]) -> None:
        self._folder = folder
        self._own = self._path(tag)
        self._take = take
        self._listening: socket.socket | None = None
        self._pause: asyncio.TimerHandle | None = None  # before it accepts again
        self._waiting: dict[socket.socket, asyncio.TimerHandle] = {}

    def _path(self, tag: str) -> Path:
        return self._folder / f"sessions-{tag}"

    def start(self) -> None:
        """Accept connections from other workers. Raises `OSError`."""
        if _KIND is None:
            return
        listening = socket.socket(socket.AF_UNIX, _KIND)
        try:
            listening.setblocking(False)
            listening.bind(str(self._own))
            listening.listen(_BACKLOG)
        except OSError:
            listening.close()
            raise
        self._listening = listening
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def close(self) -> None:
        """Accept no more connections."""
        loop = asyncio.get_running_loop()
        if self._pause is not None:
            self._pause.cancel()
        if self._listening is not None:
            loop.remove_reader(self._listening)
            self._listening.close()
            self._listening = None
            self._own.unlink(missing_ok=True)
        for passing in list(self._waiting):
            self._end(passing)

    def has(self, tag: str) -> bool:
        """Whether a worker with this tag has been here; it may have died."""
        return _KIND is not None and self._path(tag).exists()

    def pass_on(self, tag: str, descriptor: int, data: bytes) -> bool:
        """Pass a connection to the worker `tag`, which gets a duplicate of its descriptor. Return whether it was sent.

        It is not sent if the worker has died or has a full backlog, if there is too much `data`, or if this process
        has no file descriptor for it.
        """
        if _KIND is None or len(data) > MAX_DATA:
            return False
        try:
            with socket.socket(socket.AF_UNIX, _KIND) as passing:
                passing.setblocking(False)
                passing.connect(str(self._path(tag)))
                passing.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
        except OSError:
            return False
        return True

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                passing, _ = listening.accept()
            except BlockingIOError:
                return  # none is left
            except OSError:  # the process has no file descriptor for it, for one: the loop would call this in each turn
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                self._pause = loop.call_later(_ACCEPT_AGAIN, loop.add_reader, listening, self._accept, listening)
                return
            passing.setblocking(False)
            loop = asyncio.get_running_loop()
            self._waiting[passing] = loop.call_later(_PATIENCE, self._end, passing)
            loop.add_reader(passing, self._receive, passing)

    def _receive(self, passing: socket.socket) -> None:
        try:
            data, ancillary, flags, _ = passing.recvmsg(
                MAX_DATA, socket.CMSG_SPACE(_FD_SIZE), getattr(socket, "MSG_CMSG_CLOEXEC", 0)
            )
        except BlockingIOError:
            return
        except OSError:
            data, ancillary, flags = b"", [], 0
        self._end(passing)
        descriptors = [
            descriptor
            for level, kind, rights in ancillary
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS
            for descriptor in array.array("i", rights[: len(rights) - len(rights) % _FD_SIZE])
        ]
        if len(descriptors) != 1 or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            log.warning("hand_over_failed", descriptors=len(descriptors))
            for descriptor in descriptors:
                with suppress(OSError):
                    os.close(descriptor)
            return
        connection = socket.socket(fileno=descriptors[0])
        connection.setblocking(False)
        self._take(connection, data)

    def _end(self, passing: socket.socket) -> None:
        self._waiting.pop(passing).cancel()
        asyncio.get_running_loop().remove_reader(passing)
        passing.close()
