"""Synkora's server in another application that leaves something out."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import structlog
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.access.fixtures import postgres
from tests.access.processes import Postgres
from tests.support.logs import capture_logs

from synkora.app.instance import Instance
from synkora.app.integrated import CollaborationServer
from synkora.app.settings import Settings, SettingsError
from synkora.recovery.embedded import EmbeddedStore

__all__ = ["postgres"]

SECRET = "Rk2c7W9sVx0mQpYtB4nE6uHjLzAqD1fG3iKoS5wTvXy="
HANDSHAKE = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture
def configuration() -> Iterator[dict[str, object]]:
    """structlog, configured by the application itself."""
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    yield structlog.get_config()
    structlog.reset_defaults()


def client_of(collaboration: CollaborationServer) -> httpx.AsyncClient:
    """A client of an application that mounts the server and has not started the lifespan."""
    app = Starlette(routes=[Mount("/socket.io", collaboration.asgi), Mount("/synkora", collaboration.pages)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")


async def test_without_its_lifespan_it_refuses_clients(configuration: dict[str, object]) -> None:
    """The response and the readiness name what the application has left out."""
    collaboration = CollaborationServer(Settings(secret=SecretStr(SECRET), shutdown_timeout=0))
    async with client_of(collaboration) as http:
        answer, ready = await http.get(HANDSHAKE), await http.get("/synkora/ready")
        assert answer.status_code == 500
        assert "does not enter the lifespan" in answer.json()["message"]
        assert ready.status_code == 503
        assert ready.json()["reason"] == answer.json()["message"]
        async with collaboration.lifespan():
            assert (await http.get(HANDSHAKE)).status_code == 200
            assert (await http.get("/synkora/ready")).status_code == 200


async def test_what_is_kept_is_closed_when_the_instance_cannot_start(
    configuration: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one can use the files."""
    settings = Settings(secret=SecretStr(SECRET), shutdown_timeout=0, state_dir=tmp_path / "state")

    async def fail(_: Instance) -> None:
        raise RuntimeError("of the test")

    with monkeypatch.context() as patched:
        patched.setattr(Instance, "__aenter__", fail)
        with pytest.raises(RuntimeError, match="of the test"):
            await CollaborationServer(settings).lifespan().__aenter__()
    with capture_logs() as logs:
        async with CollaborationServer(settings).lifespan():
            pass
    assert not [entry for entry in logs if entry["log_level"] == "error"]


async def test_the_outbox_is_read_while_events_are_kept(
    configuration: dict[str, object], postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before the files are loaded, and no longer when they are closed."""
    steps: list[tuple[str, bool]] = []

    class Noting(EmbeddedStore):
        async def start(self) -> None:
            steps.append(("start", is_reading()))
            await super().start()

        async def close(self) -> None:
            steps.append(("close", is_reading()))
            await super().close()

    def is_reading() -> bool:
        assert outbox is not None
        return outbox._reading is not None and not outbox._reading.done()

    monkeypatch.setattr("synkora.recovery.embedded.EmbeddedStore", Noting)
    collaboration = CollaborationServer(
        Settings(
            secret=SecretStr(SECRET),
            shutdown_timeout=0,
            state_dir=tmp_path / "state",
            publish_from="postgres",
            database_url=SecretStr(postgres.url()),
        )
    )
    outbox = collaboration._instance.outbox
    async with collaboration.lifespan():
        steps.append(("serving", is_reading()))
    assert steps == [("start", False), ("serving", True), ("close", False)]


async def test_an_applications_own_log_is_left_alone(configuration: dict[str, object]) -> None:
    CollaborationServer(Settings(secret=SecretStr(SECRET)))
    assert structlog.get_config() == configuration


def test_unusable_settings_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The exception has the lines of `synkora serve`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXTAUTH_SECRET", "")
    with pytest.raises(SettingsError, match="NEXTAUTH_SECRET is not set"):
        CollaborationServer()
