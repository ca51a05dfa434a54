import pytest

from synkora.engine.settings import EngineSettings


def test_a_polling_session_may_move_to_websocket() -> None:
    """An upgrade is offered only to polling sessions, and only if WebSocket is allowed."""
    assert EngineSettings().upgrades("polling") == ["websocket"]
    assert EngineSettings().upgrades("websocket") == []
    assert EngineSettings(transports=("polling",)).upgrades("polling") == []


@pytest.mark.parametrize(
    ("path", "serves"),
    [("/ws/", True), ("/ws", True), ("/ws/more", True), ("/wsx", False), ("/", False), ("", False), ("/a/ws/", False)],
)
def test_a_path_may_lack_its_last_slash(path: str, serves: bool) -> None:
    """Everything below the path is the engine's, and so is the path without its last slash."""
    assert EngineSettings(path="/ws/").serves(path) is serves
