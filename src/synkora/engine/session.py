"""One client's connection: its states, its heartbeat, and its move from polling to WebSocket.

Source: socketio/socket.io, docs/engine.io-protocol/v4-current.md, "Upgrade" and "Message".
"""

import asyncio
from enum import Enum, auto
from time import monotonic
from typing import Final, Protocol

from synkora.engine.disconnect import ORDERLY, Reason, note_failure, reason_for
from synkora.engine.heartbeat import Heartbeat
from synkora.engine.incidents import Incidents
from synkora.engine.logs import Log, fault
from synkora.engine.message import NOOP, PING, PROBE_PONG, Message
from synkora.engine.origins import OWN_PAGE, is_said_own
from synkora.engine.outbox import Flusher, Outbox
from synkora.engine.ports import SessionListener, Transport
from synkora.engine.rate import Rate
from synkora.engine.request import Request
from synkora.engine.settings import EngineSettings
from synkora.protocol import engineio
from synkora.protocol.engineio import PacketType
from synkora.protocol.errors import Flooding, InvalidUtf8, PayloadTooLarge, ProtocolError
from synkora.protocol.json import is_utf8


class State(Enum):
    """Where a session is in its life."""

    OPEN = auto()
    PROBING = auto()  # a WebSocket has come beside the polling
    PROBED = auto()  # the WebSocket has been shown to work
    DRAINING = auto()  # its client is told to go, and what it sent before it knew is still taken
    CLOSING = auto()  # over, but what was sent last still waits for the client's poll
    CLOSED = auto()


class SessionEvent(Enum):
    """What moves a session from state to state."""

    PROBE = auto()
    PROBE_ANSWERED = auto()
    UPGRADE = auto()
    PROBE_FAILED = auto()
    DRAIN = auto()
    LINGER = auto()
    END = auto()


TRANSITIONS: Final = {
    (State.OPEN, SessionEvent.PROBE): State.PROBING,
    (State.PROBING, SessionEvent.PROBE_ANSWERED): State.PROBED,
    (State.PROBED, SessionEvent.UPGRADE): State.OPEN,
    (State.PROBING, SessionEvent.PROBE_FAILED): State.OPEN,
    (State.PROBED, SessionEvent.PROBE_FAILED): State.OPEN,
    (State.OPEN, SessionEvent.DRAIN): State.DRAINING,
    (State.OPEN, SessionEvent.LINGER): State.CLOSING,
    (State.PROBING, SessionEvent.LINGER): State.CLOSING,
    (State.PROBED, SessionEvent.LINGER): State.CLOSING,
    (State.DRAINING, SessionEvent.LINGER): State.CLOSING,
    (State.OPEN, SessionEvent.END): State.CLOSED,
    (State.PROBING, SessionEvent.END): State.CLOSED,
    (State.PROBED, SessionEvent.END): State.CLOSED,
    (State.DRAINING, SessionEvent.END): State.CLOSED,
    (State.CLOSING, SessionEvent.UPGRADE): State.CLOSING,
    (State.CLOSING, SessionEvent.END): State.CLOSED,
}
# A set would call Python code for each hash of an enum.
LIVE: Final = (State.OPEN, State.PROBING, State.PROBED, State.DRAINING)


class _Nobody:
    """Listens to a session that has ended, so that the two do not keep each other in memory."""

    def on_message(self, data: bytes) -> None: ...
    def on_binary(self, data: bytes) -> None: ...
    def on_close(self, reason: Reason) -> None: ...


MAX_CONTROL: Final = 1000  # bytes of an Engine.IO packet that is no message: it needs a few
#: Packets that no other limit counts: a connection has use for one or two a minute.
ODD_RATE: Final = 100  # a second
ODD_BURST: Final = 300
ODD_BYTES: Final = 10_000  # that count as one more of them: receiving a large one costs as much as many small ones

log = Log(__name__)

_NOBODY: Final = _Nobody()
_ODD: Final = Rate(ODD_RATE, ODD_BURST)
_MESSAGE: Final = int(PacketType.MESSAGE)  # to look up an enum's member runs Python code in Python 3.11


class SessionHost(Protocol):
    """What keeps the sessions, and what they share."""

    settings: EngineSettings
    flusher: Flusher
    heartbeat: Heartbeat
    incidents: Incidents

    def probe_started(self, session: "Session") -> None:
        """Give an upgrade its time."""
        ...

    def probe_ended(self, session: "Session") -> None:
        """Stop that time."""
        ...

    def upgraded(self, session: "Session") -> None:
        """Take note that a session has gone from polling to WebSocket."""
        ...

    def ended(self, session: "Session") -> None:
        """Forget a session, or give one that lingers its time."""
        ...


class Session:
    """An Engine.IO session.

    `request` opened it. `cookie_request` is the latest of its requests whose cookies are trusted, because the page that
    sent it is allowed to connect. `page` is the origin of a page that trusted proxies have brought, or `OWN_PAGE`.
    `max_message` is the largest message that it may send now, in bytes.
    """

    __slots__ = (
        "__weakref__",
        "_end_reason",
        "_keeper",
        "_odd_due",
        "_owes_sign",
        "_probe",
        "_upgrade_waiters",
        "cookie_request",
        "listener",
        "max_message",
        "outbox",
        "page",
        "request",
        "sid",
        "state",
        "transport",
    )

    listener: SessionListener

    def __init__(self, sid: str, request: Request, transport: Transport, keeper: SessionHost) -> None:
        self.sid = sid
        self.request = request
        self.cookie_request: Request | None = None
        self.page: str | None = None
        self.state = State.OPEN
        self.transport = transport
        self.outbox = Outbox(keeper.flusher, transport, keeper.settings.max_outbox, self.fail)
        self.max_message = keeper.settings.max_payload
        self._keeper = keeper
        self._odd_due = 0.0
        self._owes_sign = False  # it has been pinged, and nothing has come since
        self._end_reason = Reason.TRANSPORT_CLOSE
        self._probe: Transport | None = None
        self._upgrade_waiters: list[asyncio.Future[bool]] | None = None
        self.trust_cookies(request)

    @property
    def is_live(self) -> bool:
        """Whether messages can still be exchanged."""
        return self.state in LIVE

    def send(self, text: bytes) -> None:
        """Send a message to this client alone."""
        self.outbox.put(Message(text))

    def trust_cookies(self, request: Request) -> None:
        """Note the page and the cookies of one of its requests, if its page is one whose cookies count.

        Of a page on another port only the WebSocket has cookies; a POST without them may come after it.
        """
        if self.page is None and request.origin is None and is_said_own(request):
            self.page = OWN_PAGE
        if not self._keeper.settings.origins.trusts(request):
            return
        if request.is_proxied:
            self.page = request.origin
        if request.headers.get("cookie"):
            self.cookie_request = request

    def _move(self, event: SessionEvent) -> bool:
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            return False
        self.state = after
        return True

    # What arrives

    def receive_text(self, transport: Transport, packet: bytes) -> None:
        """Take a text packet from one of the session's transports."""
        try:
            if not packet:
                raise ProtocolError("empty packet")
            if not packet.isascii() and not is_utf8(packet):
                raise InvalidUtf8("not UTF-8")
            if transport is not self.transport:
                self._receive_from_probe(transport, packet)
            elif packet[0] == _MESSAGE:
                if self.state in LIVE:
                    if self._owes_sign:
                        self._show_life()
                    flusher = self._keeper.flusher
                    flusher.bytes_in += len(packet)
                    if not flusher.is_armed:  # by a plain look, since a call would cost every message
                        flusher.arm()
                    self.listener.on_message(packet[1:])
            elif engineio.is_base64(packet):
                self.receive_binary(transport, engineio.decode_base64(packet))
            else:
                self._receive_control(packet)
        except Exception as error:
            self._receive_failed(transport, error)

    def receive_binary(self, transport: Transport, data: bytes) -> None:
        """Take a binary packet from one of the session's transports."""
        try:
            if transport is not self.transport:
                raise ProtocolError("binary packet during an upgrade")
            if self.state in LIVE:
                if self._owes_sign:
                    self._show_life()
                self._keeper.flusher.bytes_in += len(data)
                self.listener.on_binary(data)
        except Exception as error:
            self._receive_failed(transport, error)

    def _receive_failed(self, transport: Transport, error: Exception) -> None:
        if not isinstance(error, ProtocolError):
            log.error("receive_failed", **fault(error))  # a fault of ours: it ends one connection, on any transport
        self.transport_failed(transport, error)

    def count_odd(self, size: int = 0) -> None:
        """Count a packet or frame, of `size` bytes, that no other limit counts. Raises `Flooding` for one too many."""
        now = monotonic()
        if _ODD.excess(self._odd_due, now) > 0:
            raise Flooding("too many packets without use")
        self._odd_due = _ODD.after(self._odd_due, now, 1 + size // ODD_BYTES)

    def too_large(self) -> PayloadTooLarge:
        """What ends a connection whose message is larger than `max_message`."""
        when = "" if self.max_message >= self._keeper.settings.max_payload else " before CONNECT"
        return PayloadTooLarge(f"message is larger than {self.max_message} bytes{when}")

    def _receive_control(self, packet: bytes) -> None:
        if len(packet) > MAX_CONTROL:
            raise ProtocolError(f"control packet is larger than {MAX_CONTROL} bytes")
        self.count_odd()
        if packet[0] == PacketType.PONG:
            self._owes_sign = False
            self._keeper.heartbeat.pong(self)
            return
        if self._owes_sign:
            self._show_life()
        match packet[0]:
            case PacketType.CLOSE:
                self.transport_closed(self.transport, Reason.TRANSPORT_CLOSE)
            case PacketType.PING:
                self.close(Reason.TRANSPORT_ERROR, ProtocolError("the server pings, the client answers"))
            case PacketType.UPGRADE | PacketType.NOOP | PacketType.OPEN:
                pass
            case _:
                raise ProtocolError("unknown packet type")

    # The move to WebSocket

    def probe(self, transport: Transport, request: Request) -> bool:
        """Take a WebSocket that came with this session's id; return False where it has, or is getting, one already."""
        if self.transport.name == "websocket" or not self._move(SessionEvent.PROBE):
            return False
        self._probe = transport
        self.trust_cookies(request)
        self._keeper.probe_started(self)
        self._wake_upgrade_waiters(came=True)
        return True

    def _receive_from_probe(self, transport: Transport, packet: bytes) -> None:
        if transport is not self._probe:
            return
        if packet == engineio.PROBE_PING and self._move(SessionEvent.PROBE_ANSWERED):
            transport.send([PROBE_PONG])
            self._release_poll()
        elif packet.startswith(engineio.UPGRADE) and self._move(SessionEvent.UPGRADE):
            polling, self.transport, self._probe = self.transport, transport, None
            self._keeper.probe_ended(self)
            self._keeper.upgraded(self)
            self.outbox.carrier = transport
            polling.discard()
            if self.state is State.CLOSING:
                self.outbox.hand_over()
                transport.close(self._end_reason, None)
                self._end()
            else:
                self.outbox.flush()
        else:
            self.probe_failed()

    def _release_poll(self) -> None:
        """Answer a poll that hangs, or comes, while the client waits for its end to upgrade."""
        if self.state is State.PROBED and self.transport.writable:
            self.transport.send([NOOP])

    def probe_failed(self) -> None:
        """Give up an upgrade; the session goes on over polling."""
        probe, self._probe = self._probe, None
        self._keeper.probe_ended(self)
        self._move(SessionEvent.PROBE_FAILED)
        if probe is not None:
            probe.close(Reason.TRANSPORT_ERROR, None)

    async def upgrade_request(self) -> bool:
        """Wait for a WebSocket with this session's id, as long as an upgrade may take; return whether one came."""
        if self._probe is not None or self.transport.name == "websocket":
            return True
        if not self.is_live or not self._keeper.settings.upgrades(self.transport.name):
            return False
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self._upgrade_waiters is None:
            self._upgrade_waiters = []
        self._upgrade_waiters.append(waiter)
        try:
            return await asyncio.wait_for(waiter, self._keeper.settings.upgrade_timeout)
        except TimeoutError:
            return False

    def _wake_upgrade_waiters(self, *, came: bool) -> None:
        waiters, self._upgrade_waiters = self._upgrade_waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(came)

    def transport_ready(self, transport: Transport) -> None:
        """Take note that a transport can be written to again."""
        if transport is self.transport:
            self.outbox.flush()
            self._release_poll()
            if self.state is State.CLOSING:
                self._end_if_fetched()
            elif self.state is State.DRAINING:
                self._close_if_fetched()

    # The end

    def ping(self) -> None:
        """Send a ping."""
        self._owes_sign = True
        self.outbox.put(PING)

    def _show_life(self) -> None:
        """Give a client more time for its pong, once for each ping, since a packet has come (engine.io 6.6.12)."""
        self._owes_sign = False
        self._keeper.heartbeat.extend(self)

    def ping_timed_out(self) -> None:
        """End, since no pong came; but not while a message is on its way, which a pong would have to wait for.

        Then the client is pinged again: it ends a connection over which no ping comes.
        """
        if self.transport.silent_for() < self._keeper.settings.ping_timeout:
            self.ping()
            self._keeper.heartbeat.extend(self)
        else:
            self.close(Reason.PING_TIMEOUT)

    def fail(self, error: Exception) -> None:
        """End because of `error`."""
        if self.is_live:
            note_failure(self._keeper.incidents, error, self.request.address)
        self.close(reason_for(error) or Reason.TRANSPORT_ERROR, error)

    def transport_failed(self, transport: Transport, error: Exception) -> None:
        """End because of what came over `transport`; a probe that fails ends only the upgrade."""
        if transport is self.transport:
            self.fail(error)
        elif transport is self._probe:
            self.probe_failed()

    def drain(self, reason: Reason) -> None:
        """End from the server's side as `close` does, but go on taking what the client sends until it knows.

        Over a WebSocket it knows when it answers the close frame, over polling when it has fetched its last messages.
        """
        self.outbox.flush()
        is_told_last = self.outbox.is_empty or self.transport.name == "polling"
        if self.state is State.OPEN and is_told_last and self.transport.drain(reason):
            self._end_reason = reason
            self._move(SessionEvent.DRAIN)
            if self.transport.name == "websocket":
                self.outbox.retire()  # nothing may follow the close frame
            self._close_if_fetched()
        else:
            self.close(reason)

    def _close_if_fetched(self) -> None:
        """End a session that parts when a poll waits and there is nothing to answer it with but the end."""
        if self.transport.writable and self.outbox.is_empty:
            self.close(self._end_reason)

    def close(self, reason: Reason, error: Exception | None = None) -> None:
        """End from the server's side. What was sent before still goes out, as far as the client takes it."""
        if self.is_live:
            if self.state is not State.DRAINING:
                self._end_reason = reason
            if self.state is not State.PROBED or reason not in ORDERLY:
                self._drop_probe()  # else the client polls no more, and is to get its last messages by the WebSocket
            self.outbox.flush()
            if self.state not in LIVE:
                return  # what was still to go out was too much, and has ended it already
            if reason in ORDERLY and self.transport.name == "websocket":
                self.outbox.hand_over()
            if self.transport.close(reason, error) or (error is not None and self.outbox.is_empty):
                self._say_farewell()
                self._end()
            elif not self._end_if_fetched():
                self._move(SessionEvent.LINGER)
                self._keeper.ended(self)
            self._tell_end(self._end_reason)

    def _end_if_fetched(self) -> bool:
        """End a session whose last messages the client has; return whether it has.

        The farewell comes by itself: a client ends at once when it reads it, before it has handled what came with it.
        """
        if not self.outbox.is_empty or not self._say_farewell():
            return False
        self._end()
        return True

    def _say_farewell(self) -> bool:
        """Send the packet that ends a session, if the transport takes it now or has none; return whether that is so."""
        close_packet = self.transport.close_packet
        if close_packet is None:
            return True
        if not self.transport.writable:
            return False
        self.transport.send([close_packet])
        return True

    def transport_closed(self, transport: Transport, reason: Reason) -> None:
        """Take note that a transport has gone, or that the client ended the session over it."""
        if transport is self._probe:
            self.probe_failed()
        elif transport is self.transport and self.state is not State.CLOSED:
            was_live = self.is_live
            told = self._end_reason if self.state is State.DRAINING else reason
            self._end()
            transport.discard()
            if was_live:
                self._tell_end(told)

    def linger_timed_out(self) -> None:
        """End, since the client did not come for its last messages."""
        self._end()

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self.probe_failed()

    def _end(self) -> None:
        self._drop_probe()
        self._move(SessionEvent.END)
        self.outbox.retire()
        self._wake_upgrade_waiters(came=False)
        self._keeper.ended(self)

    def _tell_end(self, reason: Reason) -> None:
        listener, self.listener = self.listener, _NOBODY
        listener.on_close(reason)
