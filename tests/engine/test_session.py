import asyncio
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from tests.support.servers import Engine, Recorder, until
from tests.support.sessions import MemoryTransport, request_of, turn

from synkora.engine.close_reasons import OutboxFull, Reason
from synkora.engine.message import Message
from synkora.engine.origins import OWN_PAGE, Origins
from synkora.engine.session import LIVE, TRANSITIONS, Session, SessionEvent, State
from synkora.protocol.errors import InvalidUtf8, ProtocolError

UPGRADE = request_of("EIO=4&transport=websocket&sid=x")


class Connection:
    """A session that began by polling, with its environment."""

    def __init__(self, transport: MemoryTransport | None = None, **settings: Any) -> None:
        self.engine = Engine(**settings)
        self.first = transport or MemoryTransport("polling")
        self.session = self.engine.registry.open(request_of(), self.first)
        self.probe = MemoryTransport()

    @property
    def recorder(self) -> Recorder:
        return self.engine.recorders[0]

    def start_probe(self) -> bool:
        return self.session.probe(self.probe, UPGRADE)

    def answer_probe(self) -> None:
        self.session.receive_text(self.probe, b"2probe")

    def upgrade(self) -> None:
        self.start_probe()
        self.answer_probe()
        self.session.receive_text(self.probe, b"5")

    def poll(self) -> None:
        self.first.writable = True
        self.session.transport_ready(self.first)


@pytest.fixture
async def connection() -> Connection:
    return Connection()


def to_open(connection: Connection) -> None:
    assert connection.session.state is State.OPEN


def to_closing(connection: Connection) -> None:
    connection.first.lingers = True
    connection.first.writable = False  # between two polls
    connection.session.close(Reason.SERVER_SHUTTING_DOWN)


def to_parting(connection: Connection) -> None:
    connection.first.writable = False  # between two polls
    connection.session.drain(Reason.SERVER_SHUTTING_DOWN)


def to_probed(connection: Connection) -> None:
    connection.start_probe()
    connection.answer_probe()


def end(connection: Connection) -> None:
    connection.session.transport_closed(connection.session.transport, Reason.TRANSPORT_CLOSE)


#: How a session gets into each state, and what each event is, by what transports call.
PATHS: dict[State, Callable[[Connection], object]] = {
    State.OPEN: to_open,
    State.PROBING: Connection.start_probe,
    State.PROBED: to_probed,
    State.DRAINING: to_parting,
    State.CLOSING: to_closing,
    State.CLOSED: end,
}
ACTIONS: dict[SessionEvent, Callable[[Connection], object]] = {
    SessionEvent.PROBE: Connection.start_probe,
    SessionEvent.PROBE_ANSWERED: Connection.answer_probe,
    SessionEvent.UPGRADE: lambda connection: connection.session.receive_text(connection.probe, b"5"),
    SessionEvent.PROBE_FAILED: lambda connection: connection.session.probe_failed(),
    SessionEvent.DRAIN: to_parting,
    SessionEvent.LINGER: to_closing,
    SessionEvent.END: end,
}


def connection_in(state: State) -> Connection:
    connection = Connection()
    PATHS[state](connection)
    assert connection.session.state is state
    return connection


@pytest.mark.parametrize("entry", list(TRANSITIONS), ids=lambda entry: f"{entry[0].name}-{entry[1].name}")
async def test_every_transition_of_the_table_happens(entry: tuple[State, SessionEvent]) -> None:
    """Each is caused by a real call of a transport, and leads to the state of the table."""
    state, event = entry
    connection = connection_in(state)
    ACTIONS[event](connection)
    assert connection.session.state is TRANSITIONS[entry]


@pytest.mark.parametrize(
    ("state", "event"),
    [entry for entry in product(State, SessionEvent) if entry not in TRANSITIONS],
    ids=lambda item: item.name,
)
async def test_every_other_event_is_an_error(state: State, event: SessionEvent) -> None:
    session = connection_in(state).session
    assert not session._move(event)
    assert session.state is state


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
async def test_messages_are_handed_over_in_live_states_alone(state: State) -> None:
    """Later messages do not reach the listener."""
    connection = connection_in(state)
    connection.session.receive_text(connection.first, b"4hello")
    connection.session.receive_binary(connection.first, b"\x01")
    assert connection.recorder.messages == ([b"hello", b"\x01"] if state in LIVE else [])
    assert connection.session.is_live is (state in LIVE)


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
async def test_the_listener_gets_one_end(state: State) -> None:
    connection = connection_in(state)
    for _ in range(2):
        connection.session.close(Reason.FORCED_SERVER_CLOSE)
        end(connection)
        connection.session.ping_timed_out()
        connection.session.fail(ProtocolError("x"))
    assert len(connection.recorder.reasons) == 1
    assert connection.session.state is State.CLOSED
    assert len(connection.engine.registry) == 0


async def test_an_open_session_has_sent_its_handshake() -> None:
    """OPEN is the first packet, written in the same turn as the listener's messages."""
    connection = Connection(MemoryTransport("websocket"))
    connection.session.send(b"first")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ((opening, first),) = connection.first.writes
    assert opening.packet.startswith(b'0{"sid":"')
    assert first.packet == b"4first"


class TestControlPackets:
    @pytest.mark.parametrize("packet", [b"5", b"6", b"0{}", b"3", b"3probe"])
    async def test_packets_without_meaning_in_this_state_are_ignored(
        self, packet: bytes, connection: Connection
    ) -> None:
        """An upgrade, a noop, an open or an unexpected pong over the session's transport."""
        connection.session.receive_text(connection.first, packet)
        assert connection.session.state is State.OPEN
        assert connection.recorder.messages == []

    @pytest.mark.parametrize(
        ("packet", "reason"),
        [
            *((packet, Reason.PARSE_ERROR) for packet in (b"", b"7", b"abc", b"\x00", b"\xf0\x9f\x98\x80")),
            *((packet, Reason.TRANSPORT_ERROR) for packet in (b"2", b"2probe")),
        ],
    )
    async def test_a_forbidden_packet_ends_the_session(
        self, packet: bytes, reason: Reason, connection: Connection
    ) -> None:
        """An empty packet and an unknown type are invalid. A ping may only come from the server."""
        connection.session.receive_text(connection.first, packet)
        assert connection.recorder.reasons == [reason]
        assert connection.first.closed_with is not None
        assert isinstance(connection.first.closed_with[1], ProtocolError)

    async def test_invalid_utf8_ends_the_session(self, connection: Connection) -> None:
        connection.session.receive_text(connection.first, b"4\xff")
        assert connection.recorder.messages == []
        assert connection.first.closed_with is not None
        assert isinstance(connection.first.closed_with[1], InvalidUtf8)

    async def test_a_close_packet_ends_the_session(self, connection: Connection) -> None:
        connection.session.receive_text(connection.first, b"1")
        assert connection.recorder.reasons == [Reason.TRANSPORT_CLOSE]
        assert connection.first.discarded

    async def test_an_error_of_the_listener_ends_the_session(self, connection: Connection) -> None:
        """With the listener's ProtocolError as the error of the connection."""

        def refuse(data: bytes) -> None:
            raise ProtocolError("of the test")

        connection.recorder.on_message = refuse  # type: ignore[method-assign]  # a listener that refuses
        connection.session.receive_text(connection.first, b"4x")
        assert connection.recorder.reasons == [Reason.PARSE_ERROR]


class TestHeartbeat:
    @pytest.mark.parametrize("packet", [b"4hello", b"bAAAA", b"6", b"5", b"\x00"])
    async def test_any_packet_gives_a_pong_more_time_once(self, packet: bytes) -> None:
        """The first packet after a ping shows that the client is alive. The pong is still due."""
        connection = Connection(MemoryTransport("websocket"), ping_interval=0.01, ping_timeout=60)
        registry = connection.engine.registry
        session, other = connection.session, registry.open(request_of(), MemoryTransport("websocket"))
        pongs = registry.heartbeat._pongs  # the last to expire is the last one

        def receive(session: Session) -> None:
            if packet == b"\x00":
                session.receive_binary(session.transport, packet)
            else:
                session.receive_text(session.transport, packet)

        receive(session)
        for _ in range(2):
            await until(lambda: len(pongs) == 2)
            for extended in (session, other, session):
                receive(extended)
            assert list(pongs._due) == [session, other]
            for each in (session, other):
                each.receive_text(each.transport, b"3")
            receive(session)
            assert not len(pongs)
        registry.close()

    async def test_pings_and_pongs_keep_a_session(self) -> None:
        connection = Connection(MemoryTransport("websocket"), ping_interval=0.01, ping_timeout=60)
        for count in (1, 2, 3):
            await until(lambda count=count: connection.first.packets.count(b"2") == count)
            connection.session.receive_text(connection.first, b"3")
        assert connection.session.is_live
        connection.engine.registry.close()

    async def test_a_message_on_its_way_gives_a_pong_more_time(self) -> None:
        """A pong cannot overtake the rest of an upload. Only silence ends the session."""
        connection = Connection(MemoryTransport("websocket"), ping_interval=0.01, ping_timeout=0.02)
        connection.first.silence = 0.01
        pongs = connection.engine.registry.heartbeat._pongs
        await until(lambda: connection.session in pongs)
        due = pongs._due[connection.session]
        await until(lambda: pongs._due[connection.session] > due)
        await until(lambda: connection.first.packets.count(b"2") > 1)
        assert connection.session.is_live
        connection.first.silence = 0.02
        await until(lambda: connection.recorder.reasons)
        assert connection.recorder.reasons == [Reason.PING_TIMEOUT]

    async def test_silence_ends_it(self) -> None:
        connection = Connection(MemoryTransport("websocket"), ping_interval=0.01, ping_timeout=0.01)
        await until(lambda: connection.recorder.reasons)
        assert connection.recorder.reasons == [Reason.PING_TIMEOUT]
        assert connection.first.packets.count(b"2") == 1


class TestUpgrade:
    async def test_an_upgrade_packet_may_have_a_payload(self, connection: Connection) -> None:
        """As on Node.js, it is ignored."""
        connection.start_probe()
        connection.answer_probe()
        connection.session.receive_text(connection.probe, b"5probe")
        assert connection.session.transport is connection.probe

    async def test_the_websocket_takes_over(self, connection: Connection) -> None:
        """Probe, answer and upgrade move the session. Polling is released, and messages use the WebSocket."""
        await turn()
        connection.upgrade()
        session = connection.session
        assert session.transport is connection.probe
        assert connection.first.discarded
        session.send(b"by websocket")
        await turn()
        assert connection.probe.packets == [b"3probe", b"4by websocket"]
        session.receive_text(connection.probe, b"4hello")
        assert connection.recorder.messages == [b"hello"]

    async def test_a_poll_that_hangs_is_released_by_a_noop(self, connection: Connection) -> None:
        """As soon as the probe is answered, and so is each later poll before the upgrade."""
        await turn()
        connection.poll()
        connection.start_probe()
        assert len(connection.first.writes) == 1
        connection.answer_probe()
        assert connection.first.packets[1:] == [b"6"]
        connection.poll()
        assert connection.first.packets[1:] == [b"6", b"6"]

    async def test_messages_that_waited_for_a_poll_are_sent_over_websocket(self, connection: Connection) -> None:
        await turn()
        for state in (connection.start_probe, connection.answer_probe):
            state()
            connection.session.send(state.__name__.encode())
            await turn()
        connection.session.send(b"last")
        connection.session.receive_text(connection.probe, b"5")
        assert connection.probe.packets == [b"3probe", b"4start_probe", b"4answer_probe", b"4last"]

    async def test_a_second_websocket_is_turned_away(self, connection: Connection) -> None:
        assert connection.start_probe()
        assert not connection.session.probe(MemoryTransport(), UPGRADE)
        connection.answer_probe()
        connection.session.receive_text(connection.probe, b"5")
        assert not connection.session.probe(MemoryTransport(), UPGRADE)
        assert connection.session.transport is connection.probe

    async def test_a_session_that_began_by_websocket_has_no_upgrade(self) -> None:
        connection = Connection(MemoryTransport("websocket"))
        assert not connection.start_probe()

    @pytest.mark.parametrize("packet", [b"5", b"4hello", b"2", b"2probe2", b"", b"\xff", b"1"])
    async def test_a_probe_that_does_not_begin_with_its_ping_is_given_up(
        self, packet: bytes, connection: Connection
    ) -> None:
        """The WebSocket is closed without a delivered message, and the session continues by polling."""
        connection.start_probe()
        connection.session.receive_text(connection.probe, packet)
        assert connection.probe.closed_with is not None
        assert connection.session.state is State.OPEN
        assert connection.recorder.messages == []
        assert connection.recorder.reasons == []
        assert connection.start_probe()

    async def test_binary_from_a_probe_ends_the_upgrade_alone(self, connection: Connection) -> None:
        connection.start_probe()
        connection.session.receive_binary(connection.probe, b"\x01")
        assert connection.probe.closed_with is not None
        assert connection.session.is_live

    async def test_a_probe_that_is_cut_ends_the_upgrade_alone(self, connection: Connection) -> None:
        connection.start_probe()
        connection.answer_probe()
        connection.session.transport_closed(connection.probe, Reason.TRANSPORT_CLOSE)
        assert connection.session.state is State.OPEN
        connection.session.send(b"still here")
        await turn()
        connection.poll()
        assert connection.first.packets[-1] == b"4still here"

    async def test_an_upgrade_that_takes_too_long_is_cancelled(self) -> None:
        """After the upgrade timeout. Another probe may follow."""
        connection = Connection(upgrade_timeout=0.02)
        connection.start_probe()
        await until(lambda: connection.session.state is State.OPEN)
        assert connection.probe.closed_with is not None
        assert connection.session.probe(MemoryTransport(), UPGRADE)
        connection.engine.registry.close()

    async def test_a_finished_upgrade_is_not_given_up_later(self) -> None:
        connection = Connection(upgrade_timeout=0.02)
        connection.upgrade()
        assert connection.session not in connection.engine.registry._probes
        assert connection.probe.closed_with is None
        assert connection.session.is_live

    async def test_closing_closes_the_probe_too(self, connection: Connection) -> None:
        connection.start_probe()
        connection.session.close(Reason.FORCED_SERVER_CLOSE)
        assert connection.probe.closed_with is not None
        assert connection.first.closed_with is not None


class TestUpgradeRequest:
    async def test_it_is_returned_after_a_websocket_has_connected(self, connection: Connection) -> None:
        """The wait ends with the probe, before its answer."""
        waiting = asyncio.gather(*(connection.session.upgrade_request() for _ in range(3)))
        await asyncio.sleep(0)
        connection.start_probe()
        assert await waiting == [True, True, True]
        assert await connection.session.upgrade_request()
        connection.answer_probe()
        connection.session.receive_text(connection.probe, b"5")
        assert await connection.session.upgrade_request()

    async def test_it_is_not_there_in_time(self) -> None:
        """The wait returns False after the timeout. A later WebSocket has no effect."""
        connection = Connection(upgrade_timeout=0.01)
        assert not await connection.session.upgrade_request()
        assert connection.start_probe()

    async def test_the_end_of_the_session_ends_the_wait(self, connection: Connection) -> None:
        """When the client disconnects, or immediately for an ended session."""
        waiting = asyncio.create_task(connection.session.upgrade_request())
        await asyncio.sleep(0)
        end(connection)
        assert not await waiting
        assert not await connection.session.upgrade_request()


class TestCredentials:
    TRUSTED = "https://app.example.com"

    def opened(self, origin: str | None) -> Connection:
        connection = Connection.__new__(Connection)
        connection.engine = Engine(origins=Origins([self.TRUSTED]))
        connection.first, connection.probe = MemoryTransport("polling"), MemoryTransport()
        request = request_of(cookie="a=1") if origin is None else request_of(cookie="a=1", origin=origin)
        connection.session = connection.engine.registry.open(request, connection.first)
        return connection

    async def test_they_are_of_requests_from_trusted_pages(self) -> None:
        """The first request's cookies count if its page is allowed."""
        session = self.opened(self.TRUSTED).session
        assert session.cookie_request is session.request

    async def test_no_other_request_has_any(self) -> None:
        """Cookies without an origin, or from an origin that is not listed, are ignored."""
        assert self.opened(None).session.cookie_request is None
        assert self.opened("https://evil.net").session.cookie_request is None

    async def test_the_upgrades_request_has_newer_cookies(self) -> None:
        """The WebSocket's cookies replace those of polling, only from a trusted page."""
        connection = self.opened(None)
        upgrade = request_of("transport=websocket", cookie="b=2", origin=self.TRUSTED)
        assert connection.session.probe(connection.probe, upgrade)
        assert connection.session.cookie_request is upgrade
        connection.session.trust_cookies(request_of(cookie="c=3", origin="https://evil.net"))
        assert connection.session.cookie_request is upgrade

    async def test_the_page_is_known_by_the_first_poll(self) -> None:
        """A browser sends no origin with it, and its WebSocket may come before any POST."""
        connection = self.opened(None)
        registry, session = connection.engine.registry, connection.session
        assert registry.page_of(session.sid) is None
        session.trust_cookies(request_of(is_proxied=True, sec_fetch_site="cross-site"))
        session.trust_cookies(request_of(is_proxied=False, sec_fetch_site="same-origin"))
        assert registry.page_of(session.sid) is None
        session.trust_cookies(request_of(is_proxied=True, sec_fetch_site="same-origin"))
        assert registry.page_of(session.sid) == OWN_PAGE
        assert session.cookie_request is None
        session.trust_cookies(request_of(method="POST", is_proxied=True, origin=self.TRUSTED))
        assert registry.page_of(session.sid) == self.TRUSTED


class TestClosing:
    async def test_earlier_messages_are_sent_first(self) -> None:
        """The last messages are written before the connection is closed."""
        connection = Connection(MemoryTransport("websocket"))
        connection.session.send(b"last words")
        connection.session.close(Reason.SERVER_SHUTTING_DOWN)
        assert connection.first.packets[1:] == [b"4last words"]
        assert connection.first.closed_with == (Reason.SERVER_SHUTTING_DOWN, None)

    async def test_a_pending_poll_gets_the_announcement(self, connection: Connection) -> None:
        """Without waiting messages, the session ends immediately."""
        await turn()
        connection.poll()
        connection.first.lingers = True
        connection.session.close(Reason.SERVER_SHUTTING_DOWN)
        assert connection.first.packets[1:] == [b"1"]
        assert connection.session.state is State.CLOSED

    async def test_the_last_messages_wait_for_a_poll(self, connection: Connection) -> None:
        """The next poll gets them, and the one after it the close packet."""
        await turn()
        connection.first.lingers = True
        connection.session.send(b"last words")
        connection.session.close(Reason.SERVER_SHUTTING_DOWN)
        assert connection.session.state is State.CLOSING
        assert connection.recorder.reasons == [Reason.SERVER_SHUTTING_DOWN]
        connection.poll()
        assert connection.first.packets[1:] == [b"4last words"]
        connection.poll()
        assert connection.first.packets[1:] == [b"4last words", b"1"]
        assert len(connection.engine.registry) == 0

    async def test_an_outbox_that_overflows_ends_the_session_once(self) -> None:
        """With a transport error, also during a close."""
        connection = Connection(MemoryTransport("websocket", writable=False), max_outbox=1000)
        connection.session.send(bytes(2000))
        connection.session.close(Reason.FORCED_SERVER_CLOSE)
        assert len(connection.recorder.reasons) == 1
        assert connection.first.closed_with is not None

    async def test_an_overflow_is_a_transport_error(self) -> None:
        """Socket.IO's reason for a broken connection."""
        connection = Connection(MemoryTransport("websocket", writable=False), max_outbox=1000)
        connection.session.send(bytes(2000))
        await until(lambda: connection.recorder.reasons)
        assert connection.recorder.reasons == [Reason.TRANSPORT_ERROR]
        assert connection.first.closed_with is not None
        assert isinstance(connection.first.closed_with[1], OutboxFull)

    async def test_nothing_is_stored_of_a_session_that_has_ended(self, connection: Connection) -> None:
        connection.start_probe()
        connection.session.outbox.put(Message(b"x"))
        end(connection)
        registry = connection.engine.registry
        assert len(registry) == 0
        assert len(registry._probes) == 0
        assert connection.session not in registry.heartbeat._pings
        assert connection.session.outbox.is_empty


async def test_a_transport_that_was_left_is_not_listened_to(connection: Connection) -> None:
    """After the upgrade, neither packets nor the end of polling count."""
    connection.upgrade()
    session: Session = connection.session
    session.transport_closed(connection.first, Reason.TRANSPORT_ERROR)
    session.transport_failed(connection.first, ProtocolError("late"))
    session.receive_text(connection.first, b"1")
    session.transport_ready(connection.first)
    assert session.is_live
    assert connection.recorder.reasons == []


async def test_the_bytes_of_messages_are_counted() -> None:
    """Text and binary messages. Pongs and messages after the end do not count."""
    connection = Connection(MemoryTransport())
    session, flusher = connection.session, connection.engine.registry.flusher
    session.receive_text(connection.first, b"4hello")
    session.receive_binary(connection.first, b"\x00" * 10)
    session.receive_text(connection.first, b"3")
    assert flusher.bytes_in == 16
    session.close(Reason.TRANSPORT_ERROR)
    session.receive_text(connection.first, b"4hello")
    assert flusher.bytes_in == 16
