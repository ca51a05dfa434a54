"""A session: its states, its heartbeat, and its upgrade from polling to WebSocket.

Source: socketio/socket.io, docs/engine.io-protocol/v4-current.md, "Upgrade" and "Message".
"""

import asyncio
from enum import Enum, auto
from math import inf
from time import monotonic
from typing import Final, Protocol

from synkora.engine.addresses import rate_limit_key
from synkora.engine.backlog import StrangersBacklog
from synkora.engine.close_reasons import ORDERLY, Reason, note_failure, reason_for
from synkora.engine.heartbeat import Heartbeat
from synkora.engine.incidents import Incidents
from synkora.engine.logs import Log, fault
from synkora.engine.message import NOOP, PING, PROBE_PONG, Message
from synkora.engine.origins import OWN_PAGE, is_reported_same_origin
from synkora.engine.outbox import Flusher, Outbox
from synkora.engine.ports import SessionListener, Transport
from synkora.engine.rate import Rate
from synkora.engine.request import Request
from synkora.engine.settings import EngineSettings
from synkora.engine.turn_budget import RequestBudget, TurnBudget
from synkora.engine.unfinished import UnfinishedMessages
from synkora.protocol import engineio
from synkora.protocol.engineio import PacketType
from synkora.protocol.errors import InvalidUtf8, PayloadTooLarge, ProtocolError, TooManyPackets
from synkora.protocol.json import is_utf8


class State(Enum):
    """The states of a session."""

    OPEN = auto()
    PROBING = auto()  # a WebSocket has connected, while the session still uses polling
    PROBED = auto()  # the WebSocket works: its probe has been answered
    DRAINING = auto()  # the client has to leave; messages that it sent before it knew are still handled
    CLOSING = auto()  # ended, but the last messages wait for a poll
    CLOSED = auto()


class SessionEvent(Enum):
    """The events that change a session's state."""

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
# A tuple: a set would run Python code for the hash of an enum.
LIVE: Final = (State.OPEN, State.PROBING, State.PROBED, State.DRAINING)


class _ClosedListener:
    """The listener of a session that has ended. It frees the real listener: the two would keep each other in memory."""

    def on_message(self, data: bytes) -> None: ...
    def on_binary(self, data: bytes) -> None: ...
    def on_close(self, reason: Reason) -> None: ...


MAX_CONTROL: Final = 1000  # bytes of an Engine.IO packet other than a message: a valid one is a few bytes
#: Rate of packets that no other limit counts: a connection needs one or two per minute.
OVERHEAD_RATE: Final = 100  # per second
OVERHEAD_BURST: Final = 300
OVERHEAD_BYTES: Final = 10_000  # that count as one more packet: one large packet costs as much as many small ones

log = Log(__name__)

_CLOSED_LISTENER: Final = _ClosedListener()
_OVERHEAD: Final = Rate(OVERHEAD_RATE, OVERHEAD_BURST)
_MESSAGE: Final = int(PacketType.MESSAGE)  # a member lookup of an enum runs Python code in Python 3.11


class SessionHost(Protocol):
    """What sessions share: settings, flusher, heartbeat and incidents, and the owner of their timeouts.

    What clients send that have not signed in counts for `strangers`, and what has not arrived completely for
    `unfinished` of their address.
    """

    settings: EngineSettings
    flusher: Flusher
    heartbeat: Heartbeat
    incidents: Incidents
    strangers: TurnBudget

    def unfinished(self, source: str) -> UnfinishedMessages:
        """Return what the unfinished messages of strangers of an address count for."""
        ...

    def strangers_backlog(self, source: str) -> StrangersBacklog:
        """Return what the backlogs of strangers of an address count for."""
        ...

    def probe_started(self, session: "Session") -> None:
        """Start the timeout of an upgrade."""
        ...

    def probe_ended(self, session: "Session") -> None:
        """Stop the timeout of an upgrade."""
        ...

    def upgraded(self, session: "Session") -> None: ...

    def ended(self, session: "Session") -> None:
        """Remove a session, or start the linger timeout of a closing one."""
        ...


class Session:
    """An Engine.IO session.

    `request` opened the session. `cookie_request` is the session's latest request whose cookies are trusted, because
    its page is allowed to connect. `page` is the origin of the page as reported by trusted proxies, or `OWN_PAGE`.
    `max_message` is the current limit for received messages, in bytes. What is received counts for `budget`, if there
    is one, which it shares with other sessions: of clients that have not signed in, or of the same user. What has not
    arrived completely counts for `unfinished`, likewise, but only with those of the same address before the sign-in.
    `source` is that address, or its /64 of IPv6: addresses take turns in a `TurnBudget`.
    """

    __slots__ = (
        "__weakref__",
        "_awaits_pong",
        "_end_reason",
        "_host",
        "_of_strangers",
        "_overhead_due",
        "_probe",
        "_upgrade_waiters",
        "budget",
        "cookie_request",
        "listener",
        "max_message",
        "outbox",
        "page",
        "request",
        "requests",
        "sid",
        "source",
        "state",
        "transport",
        "unfinished",
    )

    listener: SessionListener

    def __init__(self, sid: str, request: Request, transport: Transport, host: SessionHost) -> None:
        self.sid = sid
        self.request = request
        self.source = rate_limit_key(request.address)
        self.cookie_request: Request | None = None
        self.page: str | None = None
        self.state = State.OPEN
        self.transport = transport
        self.outbox = Outbox(host.flusher, transport, host.settings.max_outbox, self.fail)
        self.max_message = host.settings.max_payload
        self.budget: TurnBudget | None = host.strangers
        self._of_strangers = host.unfinished(self.source)
        self.unfinished: UnfinishedMessages | None = self._of_strangers
        self._host = host
        self._overhead_due = 0.0
        self._awaits_pong = False  # pinged, and nothing received since
        self._end_reason = Reason.TRANSPORT_CLOSE
        self._probe: Transport | None = None
        self.requests: RequestBudget | None = None  # of the session, or of all its user's
        self._upgrade_waiters: list[asyncio.Future[bool]] | None = None
        self.trust_cookies(request)

    @property
    def request_budget(self) -> TurnBudget:
        """What shares the turns with this session's HTTP requests."""
        if self.budget is not None:
            return self.budget
        if self.requests is None:
            self.requests = RequestBudget()
        return self.requests

    @property
    def is_live(self) -> bool:
        """Whether messages can be exchanged."""
        return self.state in LIVE

    def send(self, text: bytes) -> None:
        self.outbox.put(Message(text))

    def trust_cookies(self, request: Request) -> None:
        """Store the page and the cookies of a request, if its page is trusted.

        A page on another port has cookies only on the WebSocket. A POST without cookies, which may follow, changes
        nothing.
        """
        if self.page is None and request.origin is None and is_reported_same_origin(request):
            self.page = OWN_PAGE
        if not self._host.settings.origins.trusts(request):
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

    # Receiving

    def receive_text(self, transport: Transport, packet: bytes) -> None:
        """Handle a text packet from one of the session's transports."""
        try:
            if not packet:
                raise ProtocolError("empty packet")
            if not packet.isascii() and not is_utf8(packet):
                raise InvalidUtf8("not UTF-8")
            if transport is not self.transport:
                self._receive_from_probe(transport, packet)
            elif packet[0] == _MESSAGE:
                if self.state in LIVE:
                    if self._awaits_pong:
                        self._extend_pong_time()
                    flusher = self._host.flusher
                    flusher.bytes_in += len(packet)
                    if not flusher.is_armed:  # an attribute access here: a method call would cost time for each message
                        flusher.arm()
                    self.listener.on_message(packet[1:])
            elif engineio.is_base64(packet):
                self.receive_binary(transport, engineio.decode_base64(packet))
            else:
                self._receive_control(packet)
        except Exception as error:
            self.receive_failed(transport, error)

    def receive_binary(self, transport: Transport, data: bytes) -> None:
        """Handle a binary packet from one of the session's transports."""
        try:
            if transport is not self.transport:
                raise ProtocolError("binary packet during an upgrade")
            if self.state in LIVE:
                if self._awaits_pong:
                    self._extend_pong_time()
                self._host.flusher.bytes_in += len(data)
                self.listener.on_binary(data)
        except Exception as error:
            self.receive_failed(transport, error)

    def receive_failed(self, transport: Transport, error: Exception) -> None:
        """End after an error in the handling of a message."""
        if not isinstance(error, ProtocolError):
            log.error("receive_failed", **fault(error))  # a bug of the server ends one connection only
        self.transport_failed(transport, error)

    def count_overhead(self, size: int = 0) -> None:
        """Count a packet or frame of `size` bytes that no other limit counts. Raises `TooManyPackets`."""
        now = monotonic()
        if _OVERHEAD.excess(self._overhead_due, now) > 0:
            raise TooManyPackets("too many packets without use")
        self._overhead_due = _OVERHEAD.after(self._overhead_due, now, 1 + size // OVERHEAD_BYTES)

    def hold(self, holder: object, size: int) -> None:
        """Note how many bytes of an unfinished message `holder` has; 0 is nothing. Raises `PayloadTooLarge`."""
        if self.unfinished is not None:
            self.unfinished.note(holder, size)
        if not size and self.unfinished is not self._of_strangers:
            self._of_strangers.note(holder, 0)  # it may be left from before the sign-in

    def hold_for(self, unfinished: UnfinishedMessages | None) -> None:
        """Let what is held count for this user, if any, from its next part on, and no longer for the one before."""
        if self.unfinished is not None and self.unfinished is not unfinished:
            for holder in (self.transport, self._probe, self.listener):
                self.hold(holder, 0)
        self.unfinished = unfinished

    def count_for_strangers(self) -> None:
        """Let what is received and held count with that of strangers: the client is in no namespace any more."""
        self.budget = self._host.strangers
        self.hold_for(self._of_strangers)

    def count_backlog_for_strangers(self) -> None:
        """Let what waits for the client count with that for strangers of its address, and have a stranger's bounds."""
        self.outbox.count_for(self._host.strangers_backlog(self.source))
        self._host.flusher.schedule(self.outbox)  # too much may wait

    def too_large(self) -> PayloadTooLarge:
        """Return the error for a message larger than `max_message`."""
        when = "" if self.max_message >= self._host.settings.max_payload else " before CONNECT"
        return PayloadTooLarge(f"message is larger than {self.max_message} bytes{when}")

    def _receive_control(self, packet: bytes) -> None:
        if len(packet) > MAX_CONTROL:
            raise ProtocolError(f"control packet is larger than {MAX_CONTROL} bytes")
        self.count_overhead()
        if packet[0] == PacketType.PONG:
            self._awaits_pong = False
            self._host.heartbeat.pong(self)
            return
        if self._awaits_pong:
            self._extend_pong_time()
        match packet[0]:
            case PacketType.CLOSE:
                self.transport_closed(self.transport, Reason.TRANSPORT_CLOSE)
            case PacketType.PING:
                self.close(Reason.TRANSPORT_ERROR, ProtocolError("the server pings, the client answers"))
            case PacketType.UPGRADE | PacketType.NOOP | PacketType.OPEN:
                pass
            case _:
                raise ProtocolError("unknown packet type")

    # Upgrade to WebSocket

    def probe(self, transport: Transport, request: Request) -> bool:
        """Accept a WebSocket with this session's id for an upgrade; return False if the session has a WebSocket."""
        if self.transport.name == "websocket" or not self._move(SessionEvent.PROBE):
            return False
        self._probe = transport
        self.trust_cookies(request)
        self._host.probe_started(self)
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
            self._host.probe_ended(self)
            self._host.upgraded(self)
            self.outbox.carrier = transport
            polling.discard()
            if self.state is State.CLOSING:
                self.outbox.send_all()
                transport.close(self._end_reason, None)
                self._end()
            else:
                self.outbox.flush()
        else:
            self.probe_failed()

    def _release_poll(self) -> None:
        """Answer a poll with NOOP: the client upgrades after its pending poll has ended."""
        if self.state is State.PROBED and self.transport.writable:
            self.transport.send([NOOP])

    def release_poll(self) -> None:
        """Answer a pending poll with NOOP: the client polls again."""
        if self.is_live and self.state is not State.DRAINING and self.transport.name == "polling":
            self.transport.send([NOOP])

    def refuse_probe(self) -> None:
        """Cancel an upgrade that the client does not rely on yet; the session continues over polling."""
        if self.state is State.PROBING:
            self.probe_failed()

    def probe_failed(self) -> None:
        """Cancel an upgrade; the session continues over polling."""
        probe, self._probe = self._probe, None
        self._host.probe_ended(self)
        self._move(SessionEvent.PROBE_FAILED)
        if probe is not None:
            probe.close(Reason.TRANSPORT_ERROR, None)

    async def upgrade_request(self) -> bool:
        """Wait at most `upgrade_timeout` for a WebSocket with this session's id; return whether one connected."""
        if self._probe is not None or self.transport.name == "websocket":
            return True
        if not self.is_live or not self._host.settings.upgrades(self.transport.name):
            return False
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self._upgrade_waiters is None:
            self._upgrade_waiters = []
        self._upgrade_waiters.append(waiter)
        try:
            return await asyncio.wait_for(waiter, self._host.settings.upgrade_timeout)
        except TimeoutError:
            return False

    def _wake_upgrade_waiters(self, *, came: bool) -> None:
        waiters, self._upgrade_waiters = self._upgrade_waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(came)

    def transport_ready(self, transport: Transport) -> None:
        """Continue to send after a transport has become writable."""
        if transport is self.transport:
            self.outbox.flush()
            self._release_poll()
            if self.state is State.CLOSING:
                self._end_if_fetched()
            elif self.state is State.DRAINING:
                self._close_if_fetched()

    # End

    def ping(self) -> None:
        self._awaits_pong = True
        self.outbox.put(PING)

    def _extend_pong_time(self) -> None:
        """Extend the time for a pong, once per ping, since another packet has arrived (engine.io 6.6.12)."""
        self._awaits_pong = False
        self._host.heartbeat.extend(self)

    def ping_timed_out(self) -> None:
        """End without a pong, unless a message is being received: a pong would have to wait for its end.

        In this case ping again: the client closes a connection without pings.
        """
        if self.transport.seconds_since_progress() < self._host.settings.ping_timeout:
            self.ping()
            self._host.heartbeat.extend(self)
        else:
            self.close(Reason.PING_TIMEOUT)

    def fail(self, error: Exception) -> None:
        """End with the reason for `error`."""
        if self.is_live:
            note_failure(self._host.incidents, error, self.request.address)
        self.close(reason_for(error) or Reason.TRANSPORT_ERROR, error)

    def transport_failed(self, transport: Transport, error: Exception) -> None:
        """End after an error on `transport`; an error on a probe ends only the upgrade."""
        if transport is self.transport:
            self.fail(error)
        elif transport is self._probe:
            self.probe_failed()

    def drain(self, reason: Reason) -> None:
        """End from the server's side like `close`, but handle the client's messages until it knows.

        Over WebSocket the client knows when it answers the close frame, over polling when it has fetched its last
        messages.
        """
        self.outbox.flush()
        is_flushed = self.outbox.is_empty or self.transport.name == "polling"
        if self.state is State.OPEN and is_flushed and self.transport.drain(reason):
            self._end_reason = reason
            self._move(SessionEvent.DRAIN)
            if self.transport.name == "websocket":
                self.outbox.retire()  # nothing may follow the close frame
            self._close_if_fetched()
        else:
            self.close(reason)

    def _close_if_fetched(self) -> None:
        """End a draining session if a poll is pending, no message is left for it, and no POST is being received."""
        if self.transport.writable and self.outbox.is_empty and self.transport.seconds_since_progress() == inf:
            self.close(self._end_reason)

    def close(self, reason: Reason, error: Exception | None = None) -> None:
        """End from the server's side. Earlier messages are still sent, as far as the client accepts them."""
        if self.is_live:
            if self.state is not State.DRAINING:
                self._end_reason = reason
            if self.state is not State.PROBED or reason not in ORDERLY:
                self._drop_probe()  # otherwise the client no longer polls, and gets the last messages over WebSocket
            self.outbox.flush()
            if self.state not in LIVE:
                return  # the flush exceeded the backlog's limit and has ended the session
            if reason in ORDERLY and self.transport.name == "websocket":
                self.outbox.send_all()
            if self.transport.close(reason, error) or (error is not None and self.outbox.is_empty):
                self._send_close_packet()
                self._end()
            elif not self._end_if_fetched():
                self._move(SessionEvent.LINGER)
                self.transport.limit_unread(ended=False)
                self._host.ended(self)
            self._notify_closed(self._end_reason)

    def _end_if_fetched(self) -> bool:
        """End the session if the client has its last messages; return whether it has.

        The close packet is sent alone: a client closes immediately on it, before it has handled other packets of a
        payload.
        """
        if not self.outbox.is_empty or not self._send_close_packet():
            return False
        self._end()
        return True

    def _send_close_packet(self) -> bool:
        """Send the transport's close packet, if any; return False if the transport cannot send it now."""
        close_packet = self.transport.close_packet
        if close_packet is None:
            return True
        if not self.transport.writable:
            return False
        self.transport.send([close_packet])
        return True

    def transport_closed(self, transport: Transport, reason: Reason) -> None:
        """Handle the end of a transport, or the client's close packet."""
        if transport is self._probe:
            self.probe_failed()
        elif transport is self.transport and self.state is not State.CLOSED:
            was_live = self.is_live
            final_reason = self._end_reason if self.state is State.DRAINING else reason
            self._end()
            transport.discard()
            if was_live:
                self._notify_closed(final_reason)

    def linger_timed_out(self) -> None:
        """End without a poll for the last messages."""
        self._end()

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self.probe_failed()

    def _end(self) -> None:
        self._drop_probe()
        self._move(SessionEvent.END)
        self.outbox.retire()
        self.transport.limit_unread(ended=True)
        self._wake_upgrade_waiters(came=False)
        self._host.ended(self)

    def _notify_closed(self, reason: Reason) -> None:
        listener, self.listener = self.listener, _CLOSED_LISTENER
        listener.on_close(reason)
