"""One connection to Redis. Commands are written once per turn; replies and messages are delivered in Redis' order.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/, RESP3.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, cast

import hiredis

from synkora.engine.logs import Log, fault
from synkora.redis.errors import (
    ENDED_AT_ONCE,
    ENDED_TLS_AT_ONCE,
    LEADS_ELSEWHERE,
    NO_REDIS,
    LinkDown,
    RedisRefused,
)
from synkora.redis.subscriptions import Receiver

_PUBLISH: Final = b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"  # in less than half of pack_command's time
_LARGEST_WRITE: Final = 262_144  # bytes; more is written before the end of the turn
LARGEST_REPLY: Final = 134_217_728  # bytes that are read before a reply or message is complete
_MOST_CHANNELS: Final = 1000  # per command, so that no command blocks Redis
_INCOMPLETE: Final = object()  # None and False are replies

Command = tuple[bytes | str | int, ...]
Answered = Callable[[Any], None]

log = Log(__name__)


class Pending:
    """A command with an awaited reply."""

    __slots__ = ("_answered", "future")

    def __init__(self, answered: Answered | None) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answered = answered

    def succeed(self, reply: Any) -> None:
        if not self.future.done():
            self.future.set_result(reply)
        if self._answered is not None:
            _hand(self._answered, reply)

    def fail(self, error: Exception) -> None:
        """Set the error. The caller need not retrieve it."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()


class _Confirmations(Pending):
    """A change of subscriptions, which Redis confirms with a push for each channel, or refuses with one reply."""

    __slots__ = ("left",)

    def __init__(self, channels: int) -> None:
        super().__init__(None)
        self.left = channels


class RedisConnection(asyncio.Protocol):
    """A connection. `ended` is called once at its end, with the reason.

    `over` is set at the end, and `gone` when the transport is closed too. The connection ends when more than
    `max_waiting` bytes wait to be sent, when Redis refuses to publish or to subscribe, and at an error of
    `LEADS_ELSEWHERE`. `before_write` is called before the write at the end of a turn, and may add commands.
    """

    def __init__(self, ended: Callable[[str], None], max_waiting: int) -> None:
        self.receivers: Mapping[bytes, Receiver] = {}
        self.received = 0
        self.scripts: set[str] = set()  # that this connection has sent, by their SHA-1
        self.loads_scripts = False  # by SCRIPT LOAD
        self.before_write: Callable[[], None] | None = None
        self.over = asyncio.Event()
        self.gone = asyncio.Event()
        self._ended = ended
        self._max_waiting = max_waiting
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._expected: deque[Pending | None] = deque()  # None: a publish
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self._is_armed = False
        self._has_heard = False
        self._incomplete = 0  # bytes since the last complete reply or message
        self._transport: asyncio.Transport | None = None
        self._problem = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the end of the connection, by either side."""
        has_tls = self._transport is not None and self._transport.get_extra_info("sslcontext") is not None
        ended_at_once = ENDED_TLS_AT_ONCE if has_tls else ENDED_AT_ONCE
        self.end("the connection to Redis was lost" if self._has_heard else ended_at_once)
        self.gone.set()

    def end(self, problem: str) -> None:
        """Abort the connection: pending commands fail with `LinkDown`, and nothing more is received."""
        if self.over.is_set():
            return
        self.over.set()
        self._problem = problem
        if self._transport is None:
            self.gone.set()
        else:
            self._transport.abort()
            self._transport = None
        self.receivers = {}
        self._unsent.clear()
        expected, self._expected = self._expected, deque()
        for entry in expected:
            if entry is not None:
                entry.fail(LinkDown(problem))
        self._ended(problem)

    def publish(self, channel: bytes, message: bytes) -> None:
        self._send(_PUBLISH % (len(channel), channel, len(message), message), None)

    def request(self, command: Command, pending: Pending) -> None:
        self._send(_packed(command), pending)

    def change(self, command: Literal["SUBSCRIBE", "UNSUBSCRIBE"], channels: list[bytes]) -> None:
        for start in range(0, len(channels), _MOST_CHANNELS):
            some = channels[start : start + _MOST_CHANNELS]
            self._send(_packed((command, *some)), _Confirmations(len(some)))

    def arm(self) -> None:
        """Schedule a write, with `before_write`, for the end of this turn."""
        if not self._is_armed:
            self._is_armed = True
            asyncio.get_running_loop().call_soon(self._flush)

    async def subscribe(self, channels: list[bytes]) -> None:
        """Subscribe in one command, and wait for its confirmation. Raises `LinkDown` and `RedisRefused`."""
        confirmations = _Confirmations(len(channels))
        self._send(_packed(("SUBSCRIBE", *channels)), confirmations)
        await confirmations.future

    def _send(self, packed: bytes, expected: Pending | None) -> None:
        if self.over.is_set():  # perhaps by the command before, in the same call
            if expected is not None:
                expected.fail(LinkDown(self._problem))
            return
        self._unsent.append(packed)
        self._unsent_size += len(packed)
        self._expected.append(expected)
        if not self._is_armed:
            self.arm()
        elif self._unsent_size > _LARGEST_WRITE:
            self._write()

    def _flush(self) -> None:
        if self.before_write is not None:
            self.before_write()
        self._is_armed = False
        self._write()

    def _write(self) -> None:
        transport, unsent = self._transport, self._unsent
        if transport is None or not unsent:
            return
        if transport.get_write_buffer_size() > self._max_waiting:
            self.end(f"Redis does not read: more than {self._max_waiting} bytes wait for it")
            return
        self._unsent = []
        self._unsent_size = 0
        transport.write(b"".join(unsent))

    def data_received(self, data: bytes) -> None:
        """Deliver the received replies and messages."""
        self._has_heard = True
        reader = self._reader
        self._incomplete += len(data)
        if self._incomplete > LARGEST_REPLY:
            self.end(f"Redis has sent more than {LARGEST_REPLY} bytes in one piece")
            return
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                self._incomplete = 0
                if type(reply) is not hiredis.PushNotification:
                    self._take_reply(reply)
                elif reply[0] != b"message":
                    self._take_push(reply)
                else:
                    self.received += 1
                    receive = self.receivers.get(reply[1])
                    if receive is not None:
                        _hand(receive, reply[2])
        except (hiredis.ProtocolError, LookupError, TypeError, MemoryError):  # also a message of another form
            self.end(NO_REDIS)

    def _take_reply(self, reply: Any) -> None:
        is_error = isinstance(reply, hiredis.ReplyError)
        if not self._expected:
            # A Redis at its client limit sends an error without a command.
            self.end(str(RedisRefused(str(reply))) if is_error else NO_REDIS)
            return
        entry = self._expected.popleft()
        if entry is not None and not isinstance(entry, _Confirmations):
            if not is_error:
                entry.succeed(reply)
            else:
                self._refuse(entry, RedisRefused(str(reply)))
        elif is_error:
            refusal = RedisRefused(str(reply))
            if entry is not None:
                entry.fail(refusal)
            self.end(str(refusal))

    def _refuse(self, entry: Pending, error: RedisRefused) -> None:
        if error.code in LEADS_ELSEWHERE:  # the command can be sent again over another connection, as those that wait
            entry.fail(LinkDown(str(error)))
            self.end(str(error))
        else:
            entry.fail(error)

    def _take_push(self, push: list[Any]) -> None:
        entry = self._expected[0] if self._expected else None
        if push[0] in (b"subscribe", b"unsubscribe") and isinstance(entry, _Confirmations):
            entry.left -= 1
            if not entry.left:
                self._expected.popleft()
                entry.succeed(None)


def _packed(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub allows only commands of one word
    return packed


def _hand(receive: Callable[[Any], None], what: Any) -> None:
    try:
        receive(what)
    except Exception as error:  # noqa: BLE001  # one receiver's failure must not affect the others
        log.error("redis_receiver_failed", **fault(error))
