"""Balancers without any rule about sessions: the next connection goes to the next server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from tests.support.accepting import accepting

_READ = 65_536


class TcpBalancer:
    """Sends each connection to the next of `targets`, as a Service of Kubernetes does; it knows nothing of HTTP.

    A target that refuses a connection is skipped.
    """

    def __init__(self, targets: Sequence[int]) -> None:
        self.targets = list(targets)
        self.port = 0
        self._next = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            to_reader, to_writer = await self._open()
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, to_writer))
                both.create_task(_pump(to_reader, writer))
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        first = self._next % len(self.targets)
        self._next += 1
        for target in (*self.targets[first:], *self.targets[:first]):
            with suppress(ConnectionRefusedError):
                return await asyncio.open_connection("127.0.0.1", target)
        raise ConnectionRefusedError

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_READ):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def tcp_balancer(targets: Sequence[int]) -> AsyncIterator[TcpBalancer]:
    balancer = TcpBalancer(targets)
    try:
        async with accepting(balancer.serve) as balancer.port:
            yield balancer
    finally:
        balancer.close()
