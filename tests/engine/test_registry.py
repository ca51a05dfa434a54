import pytest
from tests.support.servers import Engine, until
from tests.support.sessions import MemoryTransport, request_of, turn

from synkora.engine import registry as registry_module
from synkora.engine.close_reasons import Reason
from synkora.engine.handshake import HandshakeRefused, Refusal
from synkora.engine.registry import new_id
from synkora.engine.settings import TransportName

TRANSPORTS: tuple[TransportName, ...] = ("polling", "websocket", "polling")


def test_ids_are_twenty_characters_of_url_safe_base64() -> None:
    """As long as Socket.IO's own, and unique."""
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(sid) == 20 and sid.replace("-", "").replace("_", "").isalnum() for sid in ids)


async def test_a_session_is_found_by_its_id_until_it_ends() -> None:
    registry = Engine().registry
    session = registry.open(request_of(), MemoryTransport())
    assert registry.find(session.sid) is session
    session.transport_closed(session.transport, Reason.TRANSPORT_CLOSE)
    for sid in (session.sid, "unknown"):
        with pytest.raises(HandshakeRefused) as refused:
            registry.find(sid)
        assert refused.value.code is Refusal.UNKNOWN_SESSION
    registry.close()


async def test_ids_tell_whose_they_are() -> None:
    """A named instance puts its name and a dot before its sessions' ids."""
    registry = Engine(instance="a").registry
    session = registry.open(request_of(), MemoryTransport())
    name, _, rest = session.sid.partition(".")
    assert (name, len(rest)) == ("a", 20)
    assert registry.find(session.sid) is session
    with pytest.raises(HandshakeRefused):
        registry.find(rest)
    registry.close()


async def test_closing_ends_all_sessions_and_opens_no_more() -> None:
    """With the server's shutdown as reason. Later handshakes get 503."""
    engine = Engine()
    for _ in range(3):
        engine.registry.open(request_of(), MemoryTransport())
    engine.registry.close()
    assert [recorder.reasons for recorder in engine.recorders] == [[Reason.SERVER_SHUTTING_DOWN]] * 3
    assert engine.registry.is_drained
    with pytest.raises(HandshakeRefused) as refused:
        engine.registry.admit(request_of())
    assert refused.value.status == 503


async def test_it_is_drained_when_no_client_waits_for_a_last_message() -> None:
    """A session whose last messages wait for a poll still exists, and so does an open WebSocket."""
    engine = Engine()
    polling = MemoryTransport("polling", lingers=True)
    session = engine.registry.open(request_of(), polling)
    await turn()
    engine.registry.close()
    assert not engine.registry.is_drained
    polling.writable = True
    session.transport_ready(polling)
    assert [engine.registry.is_drained for engine.registry.open_websockets in (0, 1)] == [True, False]


async def test_a_session_whose_client_never_polls_again_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "LINGER", 0.02)
    engine = Engine()
    polling = MemoryTransport("polling", lingers=True)
    session = engine.registry.open(request_of(), polling)
    await turn()
    session.close(Reason.FORCED_SERVER_CLOSE)
    assert len(engine.registry) == 1
    await until(lambda: len(engine.registry) == 0)


async def test_last_messages_wait_for_a_shorter_time_once_the_server_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of sessions that had ended before: their clients may never return."""
    monkeypatch.setattr(registry_module, "LAST_LINGER", 0.02)
    engine = Engine()
    for reason in (Reason.FORCED_SERVER_CLOSE, None):
        polling = MemoryTransport("polling", lingers=True)
        session = engine.registry.open(request_of(), polling)
        await turn()
        if reason is not None:
            session.close(reason)
    engine.registry.close()
    assert len(engine.registry) == 2
    await until(lambda: engine.registry.is_drained)


async def test_sessions_are_counted_by_the_transport_that_they_began_with() -> None:
    """The count only grows. Current sessions can be iterated."""
    registry = Engine().registry
    sessions = [registry.open(request_of(), MemoryTransport(name)) for name in TRANSPORTS]
    assert list(registry) == sessions
    sessions[0].transport_closed(sessions[0].transport, Reason.TRANSPORT_CLOSE)
    assert list(registry) == sessions[1:]
    assert registry.opened == {"polling": 2, "websocket": 1}
    registry.close()


async def test_sessions_are_counted_by_the_transport_that_they_are_on() -> None:
    """An upgrade moves a session between counts, and its end removes it."""
    registry = Engine().registry
    polling = MemoryTransport("polling")
    upgrading, staying = registry.open(request_of(), polling), registry.open(request_of(), MemoryTransport("polling"))
    direct = registry.open(request_of(), MemoryTransport("websocket"))
    assert registry.transports == {"polling": 2, "websocket": 1}
    websocket = MemoryTransport("websocket")
    assert upgrading.probe(websocket, request_of())
    upgrading.receive_text(websocket, b"2probe")
    upgrading.receive_text(websocket, b"5")
    assert registry.transports == {"polling": 1, "websocket": 2}
    for session in (upgrading, staying, direct):
        session.transport_closed(session.transport, Reason.TRANSPORT_CLOSE)
    assert registry.transports == {"polling": 0, "websocket": 0}
    registry.close()
