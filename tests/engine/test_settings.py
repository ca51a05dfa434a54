from synkora.engine.settings import EngineSettings


def test_a_polling_session_may_move_to_websocket() -> None:
    """The upgrade is offered from polling alone, and only where WebSocket is allowed."""
    assert EngineSettings().upgrades("polling") == ["websocket"]
    assert EngineSettings().upgrades("websocket") == []
    assert EngineSettings(transports=("polling",)).upgrades("polling") == []
