"""Sessions without a network: requests, and a transport in memory."""

import asyncio
from math import inf

from synkora.engine.close_reasons import ORDERLY, Reason
from synkora.engine.message import CLOSE, Message
from synkora.engine.request import Headers, Request
from synkora.engine.settings import TransportName


def request_of(
    query: str = "EIO=4&transport=polling",
    method: str = "GET",
    *,
    secure: bool = False,
    is_proxied: bool = False,
    **headers: str,
) -> Request:
    """A request. Underscores in a header's name are hyphens."""
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request(method, "/socket.io/", query, Headers(pairs), "192.0.2.1", secure, is_proxied)


async def turn() -> None:
    """Let the event loop finish its turn, and with it the flush of all outboxes."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


class MemoryTransport:
    """A transport that keeps its packets. `writable` is set by the test."""

    def __init__(self, name: TransportName = "websocket", *, writable: bool = True, lingers: bool = False) -> None:
        self.name: TransportName = name
        self.writable = writable
        self.writes: list[list[Message]] = []
        self.closed_with: tuple[Reason, Exception | None] | None = None
        self.parted_with: Reason | None = None
        self.discarded = False
        self.lingers = lingers
        self.silence = inf

    @property
    def packets(self) -> list[bytes]:
        return [message.packet for messages in self.writes for message in messages]

    def send(self, messages: list[Message]) -> None:
        assert self.writable, "written to while it does not take messages"
        self.writes.append(messages)
        if self.name == "polling":
            self.writable = False  # a poll is answered once

    @property
    def close_packet(self) -> Message | None:
        return CLOSE if self.name == "polling" else None

    def seconds_since_progress(self) -> float:
        return self.silence

    def drain(self, reason: Reason) -> bool:
        self.parted_with = reason
        if self.name == "websocket":
            self.writable = False
        return True

    def close(self, reason: Reason, error: Exception | None) -> bool:
        self.closed_with = (reason, error)
        return not (self.lingers and reason in ORDERLY)

    @property
    def has_unread(self) -> bool:
        return False

    def limit_unread(self, *, ended: bool) -> None: ...

    def discard(self) -> None:
        self.discarded = True
