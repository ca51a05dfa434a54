"""The systemd units: systemd's own checks, and a run of their command."""

import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.docs.documents import ROOT
from tests.support.processes import PATIENCE, Program, free_port

from synkora.app.settings import Settings

UNITS = ROOT / "deploy" / "systemd"
INSTALLED = "/opt/synkora"
#: Tenths: 0 is a service that can do nothing, 100 one that may do everything.
MOST_EXPOSURE = 11


def lines_of(unit: Path, name: str) -> list[str]:
    lines = [line.partition("=") for line in unit.read_text(encoding="utf-8").splitlines()]
    return [value for key, _, value in lines if key == name]


@pytest.fixture
def port() -> int:
    """A free port, which is also the instance's name."""
    return free_port()


@pytest.fixture
def units(tmp_path: Path, port: int) -> list[Path]:
    """The units of one instance, for a server installed as this one is."""
    made = []
    for template in sorted(UNITS.iterdir()):
        unit = tmp_path / template.name.replace("@", f"@{port}")
        text = template.read_text(encoding="utf-8")
        command = f"{INSTALLED}/.venv/bin/synkora"
        assert text.count(command) == (unit.suffix == ".service")
        text = text.replace(command, str(Path(sys.executable).with_name("synkora")))
        unit.write_text(text.replace("%i", str(port)), encoding="utf-8")
        made.append(unit)
    return made


def test_systemd_accepts_the_unit(units: list[Path]) -> None:
    """`systemd-analyze verify` prints nothing for any unit."""
    assert [unit.suffix for unit in units] == [".service", ".socket"]
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=one", *map(str, units)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    said = [line for line in (done.stdout + done.stderr).splitlines() if any(unit.stem in line for unit in units)]
    assert (done.returncode, said) == (0, [])


def test_the_service_is_hardened(units: list[Path]) -> None:
    """`systemd-analyze security` rates it 1.1 of 10 or better."""
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={MOST_EXPOSURE}", str(units[0])]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_room_for_all_clients() -> None:
    """The limit on open files exceeds the clients, and the stop timeout exceeds the server's own."""
    unit = UNITS / "synkora@.service"
    (files,), (seconds,) = lines_of(unit, "LimitNOFILE"), lines_of(unit, "TimeoutStopSec")
    assert int(files) > Settings.model_fields["limit_clients"].default
    assert int(seconds) > Settings.model_fields["shutdown_timeout"].default


def test_the_command_serves_the_socket(units: list[Path], port: int, tmp_path: Path) -> None:
    """systemd's own tool listens as the socket unit says, and starts what the service unit says: it answers,
    opens a session, reports that it is ready, accepts a reload, and stops cleanly.
    """
    service, unit = units
    (listen,), (command,), (reload,) = (
        lines_of(unit, "ListenStream"),
        *(lines_of(service, name) for name in ("ExecStart", "ExecReload")),
    )
    assert listen == f"127.0.0.1:{port}"
    notices = tmp_path / "notices"
    given = [*lines_of(service, "Environment"), f"NOTIFY_SOCKET={notices}"]
    given += ["NEXTAUTH_SECRET=the-secret-of-the-unit-tests-71b0e3", "SHUTDOWN_TIMEOUT=0.2"]
    activate = ["systemd-socket-activate", f"--listen={listen}", *(f"--setenv={each}" for each in given)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notices))
        manager.settimeout(PATIENCE)
        with Program([*activate, *shlex.split(command)], tmp_path) as program:
            with httpx.Client(
                base_url=f"http://{listen}",
                transport=httpx.HTTPTransport(retries=10),
                timeout=PATIENCE,
                trust_env=False,
            ) as http:
                assert http.get("/health").json()["status"] == "healthy"
                opened = http.get("/socket.io/", params={"EIO": "4", "transport": "polling"})
                assert opened.text.startswith('0{"sid":"')
            assert manager.recv(100) == b"READY=1"
            subprocess.run(shlex.split(reload.replace("$MAINPID", str(program.process.pid))), check=True)
            program.line(lambda line: line.startswith("✓ Nothing to reload"))
            program.signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            assert program.wait() == 0, program.output
