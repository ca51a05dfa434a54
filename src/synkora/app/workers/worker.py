"""A worker's side: it takes the parent's orders, and answers the other workers."""

import asyncio
import shutil
import signal
import socket
from collections.abc import Callable
from typing import Final, Self

import structlog

from synkora.app.workers.client_count import ClientCounts, SharedClientCount
from synkora.app.workers.seat import Seat
from synkora.app.workers.siblings import Siblings
from synkora.engine.tasks import Tasks
from synkora.serving.server import Server

#: Seconds for which a worker that leaves still opens sessions: a connection that it has accepted sends its request
#: within that time, and gets no refusal.
_LAST_REQUESTS: Final = 1.0

log = structlog.get_logger(__name__)


class Worker:
    """Follows the orders of the parent, as an asynchronous context manager within the server's run.

    The orders are `greet`, `cover` (accept from the sockets of these numbers too, and no others), `close` (accept no
    more connections), `leave` (send the clients to the other workers, and end), `refuse` (open no more sessions),
    `stop` (drain for so many seconds, and end) and `hurry` (like a further signal). Without a parent it stops at once.
    """

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.siblings = Siblings(seat)
        self.clients = SharedClientCount(ClientCounts(seat.path), seat.slot)
        self.greet: Callable[[], None] = lambda: None
        self.drain_time: float | None = None  # seconds, if the parent has said how many
        self._control = seat.control_socket()
        self._groups = seat.groups()
        self._covered: dict[int, list[asyncio.Server]] = {}
        self._server: Server | None = None
        self._is_leaving = False
        self._is_orphaned = False
        self._covering = asyncio.Lock()
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        await self.siblings.start()
        asyncio.get_running_loop().add_reader(self._control, self._take_order)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._control)
        self.siblings.stop()
        if self._is_orphaned:
            shutil.rmtree(self.seat.path, ignore_errors=True)  # the parent would have

    @property
    def sockets(self) -> list[socket.socket]:
        """The listening sockets of this worker's number."""
        return self._groups[self.seat.number % len(self._groups)]

    def serve_with(self, server: Server) -> None:
        """Set the server that orders are for."""
        self._server = server

    def say_ready(self) -> None:
        """Tell the parent that this worker accepts clients. From now on SIGINT is for the parent alone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._control.send(b"ready")

    @property
    def may_drain(self) -> bool:
        """Whether there are others to send the clients to."""
        return not self._is_orphaned and (self._is_leaving or self.seat.may_drain)

    def _take_order(self) -> None:
        try:
            order = self._control.recv(4096).decode()
        except BlockingIOError:
            return
        except OSError:
            order = ""
        server = self._server
        match order.partition(" ")[0]:
            case _ if server is None:
                pass
            case "cover":
                self._tasks.start(self._cover(server, order.split()[1:]))
            case "greet":
                self.greet()
            case "close":
                self.siblings.is_leaving = True
                server.stop_listening()
            case "leave":
                self._is_leaving = self.siblings.is_leaving = True
                self._tasks.start(self._leave(server))
            case "refuse":
                server.refuse_clients()
            case "stop":
                self.drain_time = float(order.split()[1])
                self._stop(server)
            case "hurry":
                server.handle_exit(signal.SIGINT, None)
            case "":
                log.error("parent_ended")
                self._is_orphaned = True
                asyncio.get_running_loop().remove_reader(self._control)
                self._stop(server)

    @staticmethod
    def _stop(server: Server) -> None:
        """Stop as by SIGTERM. A supervisor may send that to each process of a group, or have sent it."""
        if not server.should_exit:
            server.handle_exit(signal.SIGTERM, None)

    async def _cover(self, server: Server, numbers: list[str]) -> None:
        wanted = set(map(int, numbers))
        async with self._covering:
            for number in self._covered.keys() - wanted:
                for listening in self._covered.pop(number):
                    server.stop_listening_on(listening)
            for number in wanted - self._covered.keys():
                self._covered[number] = [await server.listen_on(each) for each in self._groups[number]]

    async def _leave(self, server: Server) -> None:
        server.stop_listening()
        await asyncio.sleep(_LAST_REQUESTS)
        self._stop(server)
