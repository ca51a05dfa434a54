import asyncio
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.support.servers import Engine
from tests.support.sessions import MemoryTransport, request_of

from synkora.engine.close_reasons import Reason
from synkora.engine.message import Message
from synkora.engine.session import State


class LoggedTransport(MemoryTransport):
    """A transport that records its packets in a shared list, in order."""

    def __init__(self, name: str, wire: list[bytes]) -> None:
        super().__init__("polling" if name == "polling" else "websocket", writable=name == "websocket")
        self.wire = wire

    def send(self, messages: list[Message]) -> None:
        super().send(messages)
        self.wire += [message.packet for message in messages]


class Upgrading(RuleBasedStateMachine):
    """A session under any order of sending, polling, probing, upgrading, failing and turns of the event loop.

    Messages of both directions must arrive once and in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.wire: list[bytes] = []
        self.sent = 0
        self.said = 0
        self.engine = Engine()
        self.polling = LoggedTransport("polling", self.wire)
        self.probe = LoggedTransport("websocket", self.wire)
        self.run(self.open)
        self.session = self.engine.recorders[0].session

    def open(self) -> None:
        self.engine.registry.open(request_of(), self.polling)

    def run(self, action: Callable[[], object]) -> None:
        """Run something within the event loop, whose turn does not end with it."""

        async def act() -> None:
            action()

        self.loop.run_until_complete(act())

    @property
    def upgraded(self) -> bool:
        return self.session.transport is not self.polling

    @rule(count=st.integers(1, 5), ends=st.booleans())
    def send(self, count: int, ends: bool) -> None:
        """The server sends, in one turn. Without `ends`, the next action happens before the flush if possible."""
        for _ in range(count):
            self.sent += 1
            self.run(lambda: self.session.send(b"%d" % self.sent))
        if ends:
            self.turn()

    @rule()
    def turn(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))

    @rule()
    def say(self) -> None:
        self.said += 1
        self.run(lambda: self.session.receive_text(self.session.transport, b"4%d" % self.said))

    @precondition(lambda self: not self.upgraded and not self.polling.writable)
    @rule()
    def poll(self) -> None:
        self.polling.writable = True
        self.run(lambda: self.session.transport_ready(self.polling))

    @precondition(lambda self: self.session.state is State.OPEN and not self.upgraded)
    @rule()
    def start_probe(self) -> None:
        self.probe = LoggedTransport("websocket", self.wire)
        self.run(lambda: self.session.probe(self.probe, request_of("transport=websocket")))
        assert self.session.state is State.PROBING

    @precondition(lambda self: self.session.state is State.PROBING)
    @rule()
    def answer_probe(self) -> None:
        self.run(lambda: self.session.receive_text(self.probe, b"2probe"))
        assert self.session.state is State.PROBED

    @precondition(lambda self: self.session.state is State.PROBED)
    @rule()
    def upgrade(self) -> None:
        self.run(lambda: self.session.receive_text(self.probe, b"5"))
        assert self.upgraded

    @precondition(lambda self: self.session.state in (State.PROBING, State.PROBED))
    @rule(how=st.sampled_from(["close", "packet", "timeout"]))
    def fail_probe(self, how: str) -> None:
        actions: dict[str, Callable[[], object]] = {
            "close": lambda: self.session.transport_closed(self.probe, Reason.TRANSPORT_CLOSE),
            "packet": lambda: self.session.receive_text(self.probe, b"4not yet"),
            "timeout": self.session.probe_failed,
        }
        self.run(actions[how])
        assert not self.upgraded
        assert self.session.state is State.OPEN

    @precondition(lambda self: self.upgraded)
    @rule(writable=st.booleans())
    def pause_or_resume(self, writable: bool) -> None:
        self.probe.writable = writable
        if writable:
            self.run(lambda: self.session.transport_ready(self.probe))

    def received(self) -> list[int]:
        return [int(packet[1:]) for packet in self.wire if packet.startswith(b"4")]

    @invariant()
    def what_the_client_got_is_the_beginning_of_what_was_sent(self) -> None:
        received = self.received()
        assert received == list(range(1, len(received) + 1))
        assert len(received) <= self.sent

    @invariant()
    def what_the_server_got_is_what_was_said(self) -> None:
        heard = [int(data) for data in self.engine.recorders[0].messages]
        assert heard == list(range(1, self.said + 1))

    @invariant()
    def the_session_lives(self) -> None:
        assert self.session.is_live
        assert self.engine.recorders[0].reasons == []

    def teardown(self) -> None:
        """A client that reads gets everything in the end."""
        transport = self.session.transport
        assert isinstance(transport, LoggedTransport)
        for _ in range(3):
            self.turn()
            if not transport.writable:
                transport.writable = True
                self.run(lambda: self.session.transport_ready(transport))
        self.turn()
        received = self.received()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.engine.registry.heartbeat.cancel()
        self.engine.registry._probes.cancel()
        self.loop.close()
        assert received == list(range(1, self.sent + 1))


TestUpgrading = Upgrading.TestCase
TestUpgrading.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
