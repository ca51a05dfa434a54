"""Bounds what a client sends over TLS besides data: before the handshake is complete, and KeyUpdates (RFC 8446
section 4.6.3)."""

import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, NoReturn, Self

#: Bytes that a client may send without data: more than the largest record, which counts until it is complete. OpenSSL
#: would store a ClientHello of 131,396 bytes; those of browsers have about 2,000.
MOST_UNUSED: Final = 17_000
#: Bytes of a record besides its data. TLS 1.3 needs 22, and a client may fill records up a little: at most this much
#: for a record, no more than its data, and as much as this a second on top.
_PER_RECORD: Final = 64
_LEAST_PER_RECORD: Final = 24
_PER_SECOND: Final = 4_000
#: Bytes of answers to KeyUpdates that wait for a client.
_MOST_ANSWERS: Final = 17_000
#: Bytes that OpenSSL gets at a time. It handles all KeyUpdates that it has before it returns.
_STEP: Final = 8_192


class TooManyRecords(ConnectionAbortedError):
    """A client has sent too many records without data."""


def bound_records(context: ssl.SSLContext, on_excess: Callable[[], None]) -> Callable[[], int]:
    """Let connections of a server's context end after too many records without data, and call `on_excess`.

    Returns a function that counts the connections, those in the handshake included. After the handshake, TLS 1.2 has no
    such records: its renegotiation can be turned off.
    """
    counts = {"on_excess": staticmethod(on_excess), "connections": 0}
    bounded: type[_BoundedTls] = type("BoundedTls", (_BoundedTls,), counts)
    context.sslobject_class = bounded
    return lambda: bounded.connections


class _BoundedTls(ssl.SSLObject):
    """TLS of one connection. OpenSSL gets the received bytes in steps."""

    on_excess: Callable[[], None]
    connections: int
    _received: ssl.MemoryBIO
    _given: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO
    _unused: float
    _counted_at: float
    _answers: int

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **options: Any) -> Self:
        given = ssl.MemoryBIO()
        created: Self = super()._create(given, outgoing, *args, **options)  # type: ignore[misc]  # not in typeshed
        created._received, created._given, created._outgoing = incoming, given, outgoing
        created._unused = created._answers = 0
        created._counted_at = monotonic()
        cls.connections += 1
        return created

    def __del__(self) -> None:
        type(self).connections -= 1

    def do_handshake(self) -> None:
        """Do what the handshake can do with the received bytes."""
        while True:
            try:
                super().do_handshake()
            except ssl.SSLWantReadError:
                if self._unused > MOST_UNUSED:
                    self._end()
                if not self._give():
                    raise
            else:
                self._unused = 0
                return

    def read(self, size: int = 1024, buffer: Any = None) -> Any:
        """Return data, or write it into `buffer` and return its size."""
        while True:
            before = self._outgoing.pending
            try:
                data: Any = super().read(size, buffer)
            except ssl.SSLWantReadError:
                self._count_answers(before)
                if self._unused > MOST_UNUSED and self.version() == "TLSv1.3":
                    self._end()
                if not self._give():
                    raise
            else:
                self._count_answers(before)
                self._count_data(data if isinstance(data, int) else len(data))
                return data

    def _count_answers(self, before: int) -> None:
        """Count what OpenSSL has answered to KeyUpdates since `before`, unless the client has got all of it."""
        self._answers = self._outgoing.pending - before + (self._answers if before else 0)
        if self._answers > _MOST_ANSWERS:
            self._end()

    def _count_data(self, length: int) -> None:
        now = monotonic()
        allowed = length + min(_PER_RECORD, _LEAST_PER_RECORD + length) + _PER_SECOND * (now - self._counted_at)
        self._unused = max(self._unused - allowed, 0)
        self._counted_at = now

    def pending(self) -> int:
        """Return the number of bytes that can be read, or decrypted, without receiving more."""
        return super().pending() + self._given.pending

    def unwrap(self) -> None:
        """Do what the end of TLS can do with the received bytes."""
        while True:
            try:
                super().unwrap()
            except ssl.SSLWantReadError:
                if not self._give():
                    raise
            else:
                return

    def _end(self) -> NoReturn:
        self.on_excess()
        raise TooManyRecords("too many records without data") from None

    def _give(self) -> bool:
        """Give OpenSSL the next bytes; return whether there were any."""
        data = self._received.read(_STEP)
        self._given.write(data)
        self._unused += len(data)
        return bool(data)
