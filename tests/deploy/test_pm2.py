"""deploy/pm2/ecosystem.config.cjs with the real PM2: start, restart, reload and stop."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.docs.documents import ROOT
from tests.support.processes import PATIENCE, free_port
from tests.support.users import CLIENTS, SECRET

CONFIGURATION = ROOT / "deploy" / "pm2" / "ecosystem.config.cjs"
APP, SERVER = "synkora-app", "synkora-ws"
#: What the web app is here: it answers with what PM2 gives it.
STAND_IN = """
require("node:http").createServer((_, response) => response.end(process.env.ENABLE_INTEGRATED_WEBSOCKET))
    .listen(Number(process.env.APP_PORT), "127.0.0.1");
"""


class Pm2:
    """PM2 with its own daemon, and a configuration with a test's folders and ports."""

    def __init__(self, folder: Path) -> None:
        self.port, self.app_port = free_port(), free_port()
        server, app = folder / "server", folder / "app"
        (server / ".venv" / "bin").mkdir(parents=True)
        (server / ".venv" / "bin" / "synkora").symlink_to(Path(sys.executable).with_name("synkora"))
        (server / ".env.local").write_text(f"NEXTAUTH_SECRET={SECRET}\nSHUTDOWN_TIMEOUT=0.5\n")
        app.mkdir()
        (app / "package.json").write_text('{"scripts": {"start": "node app.cjs"}}')
        (app / "app.cjs").write_text(STAND_IN)
        text = CONFIGURATION.read_text(encoding="utf-8")
        for old, new in (("/opt/synkora-app", app), ("/opt/synkora", server), ("3001", self.port)):
            assert f'"{old}"' in text
            text = text.replace(f'"{old}"', f'"{new}"')
        self._configuration = folder / CONFIGURATION.name
        self._configuration.write_text(text, encoding="utf-8")
        self._home = folder / "pm2"

    def __call__(self, *command: str) -> str:
        """Run a command of PM2's to its end, and return its output."""
        done = subprocess.run(
            [CLIENTS / "node_modules" / ".bin" / "pm2", *command],
            cwd=self._configuration.parent,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self._home),
                "PM2_HOME": str(self._home),
                "PM2_DISABLE_VERSION_CHECK": "true",
                "APP_PORT": str(self.app_port),
            },
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> None:
        self("start", self._configuration.name)

    def process(self, name: str) -> dict[str, Any]:
        listed = self("jlist")
        found: dict[str, Any] = next(each for each in json.loads(listed[listed.index("[") :]) if each["name"] == name)
        return found

    def log(self) -> str:
        return "".join(file.read_text() for file in sorted((self._home / "logs").glob(f"{SERVER}-*.log")))


@pytest.fixture
def pm2(tmp_path: Path) -> Iterator[Pm2]:
    """PM2 whose daemon and processes end with the test."""
    running = Pm2(tmp_path)
    yield running
    running("kill")


def ask(url: str) -> str:
    """The response from there, or None without a listener."""
    try:
        return httpx.get(url, trust_env=False).text
    except httpx.TransportError:
        return ""


def wait(condition: Callable[[], bool], pm2: Pm2) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, pm2.log()
        time.sleep(0.05)


def test_app_and_server_live_under_pm2(pm2: Pm2) -> None:
    """Both start. The server is restarted after a crash. Reload and stop are graceful."""
    pm2.start()
    health, polling = (
        f"http://127.0.0.1:{pm2.port}/{path}" for path in ("health", "socket.io/?EIO=4&transport=polling")
    )
    wait(lambda: '"status":"healthy"' in ask(health), pm2)
    wait(lambda: ask(f"http://127.0.0.1:{pm2.app_port}/") == "false", pm2)
    first = pm2.process(SERVER)
    assert first["pm2_env"]["status"] == "online"

    os.kill(first["pid"], signal.SIGKILL)
    wait(lambda: bool(ask(health)) and pm2.process(SERVER)["pid"] not in (0, first["pid"]), pm2)
    second = pm2.process(SERVER)
    assert second["pm2_env"]["restart_time"] == 1

    assert "sid" in ask(polling)  # a client that never polls again delays the stop for SHUTDOWN_TIMEOUT
    pm2("reload", SERVER)
    wait(lambda: pm2.process(SERVER)["pid"] not in (0, second["pid"]) and bool(ask(health)), pm2)
    assert pm2.log().count("✓ Stopped") == 1

    pm2("stop", SERVER)
    assert ask(health) == ""
    assert pm2.log().count("✓ Stopped") == 2
    assert pm2.process(SERVER)["pm2_env"]["exit_code"] == 0
