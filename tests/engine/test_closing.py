"""The end of a session during its upgrade, and the end by an internal error."""

import pytest
from tests.support.logs import capture_logs
from tests.support.servers import Engine, until
from tests.support.sessions import MemoryTransport, request_of, turn

from synkora.engine import registry as registry_module
from synkora.engine.close_reasons import ORDERLY, Reason
from synkora.engine.session import Session, State
from synkora.engine.settings import TransportName

UPGRADE = request_of("EIO=4&transport=websocket&sid=x")


class Upgrading:
    """A session after the answer to its probe: its client has stopped polling, and has not upgraded yet."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.polling = MemoryTransport("polling", lingers=True)
        self.session: Session = self.engine.registry.open(request_of(), self.polling)
        self.websocket = MemoryTransport()
        self.session.outbox.flush()
        self.session.probe(self.websocket, UPGRADE)
        self.session.receive_text(self.websocket, b"2probe")
        assert self.session.state is State.PROBED

    @property
    def reasons(self) -> list[Reason]:
        return self.engine.recorders[0].reasons


@pytest.mark.parametrize("reason", sorted(ORDERLY))
async def test_the_last_messages_wait_for_the_client_to_move(reason: Reason) -> None:
    """They are sent over the WebSocket after the upgrade. It is then closed with the session's reason."""
    upgrading = Upgrading()
    upgrading.session.send(b"last")
    upgrading.session.close(reason)
    assert upgrading.websocket.packets == [b"3probe"]
    assert len(upgrading.engine.registry) == 1
    upgrading.session.receive_text(upgrading.websocket, b"5")
    assert upgrading.websocket.packets == [b"3probe", b"4last"]
    assert upgrading.websocket.closed_with == (reason, None)
    assert upgrading.session.state is State.CLOSED
    assert len(upgrading.engine.registry) == 0
    assert upgrading.reasons == [reason]


async def test_a_long_backlog_is_sent_complete_after_an_upgrade() -> None:
    upgrading = Upgrading()
    for number in range(100):
        upgrading.session.send(b"%d" % number + b"." * 10_000)
    upgrading.session.close(Reason.SERVER_SHUTTING_DOWN)
    upgrading.session.receive_text(upgrading.websocket, b"5")
    assert len(upgrading.websocket.packets) == 101


async def test_a_long_backlog_is_fetched_poll_by_poll() -> None:
    """A closed session lasts until its client has the backlog and the close packet."""
    engine = Engine()
    polling = MemoryTransport("polling", lingers=True)
    session = engine.registry.open(request_of(), polling)
    for number in range(100):
        session.send(b"%d" % number + b"." * 10_000)
    polling.writable = False
    session.close(Reason.SERVER_SHUTTING_DOWN)
    polls = 0
    while len(engine.registry):
        polling.writable = True
        session.transport_ready(polling)
        polls += 1
    assert len(polling.packets) == 102
    assert polling.packets[-1] == b"1"
    assert polls == 5


@pytest.mark.parametrize("reason", sorted(set(Reason) - ORDERLY))
async def test_an_abnormal_end_does_not_wait(reason: Reason) -> None:
    """After a client's error, or without a client, nothing is pending."""
    upgrading = Upgrading()
    upgrading.session.close(reason)
    assert upgrading.websocket.closed_with is not None
    upgrading.session.receive_text(upgrading.websocket, b"5")
    assert upgrading.websocket.packets == [b"3probe"]


async def test_a_client_that_never_moves_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the timeout of last messages, the session and its WebSocket are removed."""
    monkeypatch.setattr(registry_module, "LINGER", 0.05)
    upgrading = Upgrading()
    upgrading.session.send(b"last")
    upgrading.session.close(Reason.FORCED_SERVER_CLOSE)
    assert len(upgrading.engine.registry) == 1
    await until(lambda: len(upgrading.engine.registry) == 0)
    assert upgrading.session.state is State.CLOSED
    assert upgrading.websocket.closed_with is not None
    assert upgrading.websocket.packets == [b"3probe"]
    assert upgrading.reasons == [Reason.FORCED_SERVER_CLOSE]


async def test_a_websocket_that_is_cut_leaves_the_last_messages_to_a_poll() -> None:
    """The client returns to polling, and gets the last messages and the end there."""
    upgrading = Upgrading()
    upgrading.session.send(b"last")
    upgrading.session.close(Reason.FORCED_SERVER_CLOSE)
    upgrading.session.transport_closed(upgrading.websocket, Reason.TRANSPORT_CLOSE)
    for _ in range(2):
        upgrading.polling.writable = True
        upgrading.session.transport_ready(upgrading.polling)
    assert upgrading.polling.packets[-2:] == [b"4last", b"1"]
    assert upgrading.session.state is State.CLOSED


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
@pytest.mark.parametrize("name", ["websocket", "polling"])
async def test_an_error_of_ours_is_logged_and_ends_one_session(
    binary: bool, name: TransportName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over either transport. Other sessions continue."""

    def fail(data: bytes) -> None:
        raise LookupError("of the test")

    engine = Engine()
    transport, others = MemoryTransport(name), MemoryTransport()
    session, other = engine.registry.open(request_of(), transport), engine.registry.open(request_of(), others)
    monkeypatch.setattr(engine.recorders[0], "on_message", fail)
    monkeypatch.setattr(engine.recorders[0], "on_binary", fail)
    with capture_logs() as logs:
        if binary:
            session.receive_binary(transport, b"\x01")
        else:
            session.receive_text(transport, b"4hello")
    await turn()
    assert [(entry["event"], entry["exception"].rpartition(": ")[2]) for entry in logs] == [
        ("receive_failed", "of the test")
    ]
    assert not session.is_live
    assert engine.recorders[0].reasons == [Reason.TRANSPORT_ERROR]
    assert other.is_live
    assert len(engine.registry) == 1
