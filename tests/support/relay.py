"""A TCP relay between a client and a server, which a test can let fail like a network."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.accepting import accepting


class Relay:
    """Relays what comes to `port`; `connections` counts all connections, `downloaded` the server's bytes.

    New connections go to the port `target`, as behind a load balancer.

    While `is_deaf` the server's data is dropped; while `is_stuck` nothing is read from either side.
    Clients' data is relayed at `upload_rate` bytes a second, if set.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.connections = 0
        self.downloaded = 0
        self.is_deaf = False
        self.upload_rate = 0
        self.target = target
        self._moving = asyncio.Event()
        self._moving.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._unheard: set[asyncio.StreamWriter] = set()
        self._vanishing: set[asyncio.StreamWriter] = set()
        self._ghosts: set[asyncio.StreamWriter] = set()

    @property
    def is_stuck(self) -> bool:
        return not self._moving.is_set()

    @is_stuck.setter
    def is_stuck(self, value: bool) -> None:
        if value:
            self._moving.clear()
        else:
            self._moving.set()

    def cut(self) -> None:
        for writer in (*self._writers, *self._ghosts):
            writer.transport.abort()
        self._ghosts.clear()

    def reset(self) -> None:
        """End all connections with a reset (RST), which discards data in transit."""
        for writer in self._writers:
            _discard(writer)
        self.cut()

    @property
    def unheard(self) -> int:
        """The number of clients' connections on which the server's data was dropped."""
        return len(self._unheard)

    def reset_unheard(self) -> None:
        """End clients' connections with a reset on which the server's data was dropped, and stop dropping it."""
        self.is_deaf = False
        for writer in list(self._unheard):
            _discard(writer)
            writer.transport.abort()

    def vanish(self) -> None:
        """Close the clients' connections, and leave those to the server open and silent: they only seem alive."""
        self._vanishing = {writer for writer in self._writers if writer in self._clients}
        for writer in self._vanishing:
            writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        self._clients.add(writer)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            self._clients.discard(writer)
            return
        self._writers.add(server_writer)
        pumps = [
            asyncio.create_task(self._pump(reader, server_writer, from_server=False)),
            asyncio.create_task(self._pump(server_reader, writer, from_server=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            if writer in self._vanishing:
                self._ghosts.add(server_writer)
            else:
                server_writer.transport.abort()
            writer.transport.abort()
            self._writers -= {writer, server_writer}
            self._clients.discard(writer)
            self._vanishing.discard(writer)
            self._unheard.discard(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_server: bool) -> None:
        try:
            while True:
                await self._moving.wait()
                is_slow = self.upload_rate and not from_server
                data = await reader.read(2_048 if is_slow else 65_536)
                if is_slow:
                    await asyncio.sleep(len(data) / self.upload_rate)
                await self._moving.wait()
                if not data:
                    return
                self.downloaded += len(data) * from_server
                if from_server and self.is_deaf:
                    self._unheard.add(writer)
                else:
                    writer.write(data)
                    await writer.drain()
        except ConnectionError:
            pass


def _discard(writer: asyncio.StreamWriter) -> None:
    """Let a connection end with a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@asynccontextmanager
async def relaying(target: int, port: int = 0) -> AsyncIterator[Relay]:
    """A relay to a port of this machine, for the length of a `with` block. It listens on any port, or on this one."""
    relay = Relay(target)
    try:
        async with accepting(relay.accept, port) as relay.port:
            yield relay
    finally:
        relay.is_stuck = False
        relay.cut()
