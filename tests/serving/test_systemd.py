"""Socket activation and notifications of a service manager, with systemd's own tool where it has one."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import httpx
import pytest
from tests.support.processes import PATIENCE, Program, Synkora, free_port

from synkora.serving.systemd import notify, passed_sockets

SERVE = (sys.executable, "-m", "synkora", "serve")
SETTINGS = {"NEXTAUTH_SECRET": "a-secret-of-the-systemd-tests-9c2e7d41", "WS_HOST": "127.0.0.1", "WS_PORT": "0"}
#: Becomes the server with a socket of some kind as the first that is passed.
LAUNCHER = """
import os, socket, sys
passed = socket.socket({family}, {kind})
passed.bind({address})
{after}
os.dup2(passed.fileno(), 3)
os.set_inheritable(3, True)  # it may have been 3 before
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "synkora", "serve"])
"""


def test_a_passed_socket_is_served(tmp_path: Path) -> None:
    """Clients that connect before the start are answered. The configured port is not used."""
    port, settings = free_port(), [f"--setenv={name}={value}" for name, value in SETTINGS.items()]
    command = ["systemd-socket-activate", f"--listen=127.0.0.1:{port}", *settings, *SERVE]
    with Program(command, tmp_path) as program:
        transport = httpx.HTTPTransport(retries=10)  # until systemd's tool listens
        with httpx.Client(transport=transport, timeout=PATIENCE, trust_env=False) as http:
            assert http.get(f"http://127.0.0.1:{port}/health").json()["status"] == "healthy"
        program.line(lambda line: line == f"✓ Server running on port: {port}")
        program.terminate()


@pytest.mark.parametrize(
    ("family", "kind", "address", "after"),
    [
        ("socket.AF_UNIX", "socket.SOCK_STREAM", "'passed.sock'", "passed.listen()"),
        ("socket.AF_INET", "socket.SOCK_DGRAM", "('127.0.0.1', 0)", ""),
        ("socket.AF_INET", "socket.SOCK_STREAM", "('127.0.0.1', 0)", ""),
    ],
    ids=["unix", "datagrams", "not listening"],
)
def test_other_sockets_are_refused(tmp_path: Path, family: str, kind: str, address: str, after: str) -> None:
    """The message says what the socket unit needs."""
    script = LAUNCHER.format(family=family, kind=kind, address=address, after=after)
    with Program([sys.executable, "-c", script], tmp_path, **SETTINGS) as program:
        assert program.wait() == 1
        (line,) = program.stderr
        assert line.endswith("the socket that was passed has to be one of TCP that listens (ListenStream=)")


def test_sockets_for_another_process_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables may be inherited from a parent process."""
    monkeypatch.setenv("LISTEN_PID", str(os.getppid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert passed_sockets() == []


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_it_is_called_at_the_start_and_the_stop_of_the_server(tmp_path: Path, is_abstract: bool) -> None:
    """`READY=1` when it listens, so that later units find it. `STOPPING=1` when it begins to stop."""
    name = f"@synkora-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        manager.settimeout(PATIENCE)
        with Synkora(tmp_path, "serve", NOTIFY_SOCKET=name, **SETTINGS) as program:
            assert manager.recv(100) == b"READY=1"
            program.line(lambda line: line.startswith("✓ Health check:"))
            program.signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            assert program.wait() == 0, program.output


@pytest.mark.parametrize("address", [None, "", "/nobody/listens/here", "vsock:2:1"])
def test_without_a_service_manager_notify_does_nothing(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


def test_a_hangup_while_it_starts_is_answered_when_it_has_started(tmp_path: Path) -> None:
    """A reload during the start does not end the process, and is not lost."""
    with Synkora(tmp_path, "serve", **SETTINGS) as program:
        until = time.monotonic() + PATIENCE
        while not blocks_hangups(program.process.pid):
            assert time.monotonic() < until, program.output
            time.sleep(0.001)
        program.signal(signal.SIGHUP)
        program.line(lambda line: line.startswith("✓ Nothing to reload"))
        program.terminate()


def blocks_hangups(pid: int) -> bool:
    """Whether a process blocks SIGHUP: the lowest bit of its mask (proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.partition("SigBlk:")[2].split()[0], 16)
    return bool(mask & 1 << (signal.SIGHUP - 1))


def test_a_hangup_does_not_end_it(tmp_path: Path) -> None:
    """`systemctl reload` without anything to reload is one log line."""
    with Synkora(tmp_path, "serve", **SETTINGS) as program:
        program.line(lambda line: line.startswith("✓ PROJECT_ACCESS"))
        program.signal(signal.SIGHUP)
        program.line(lambda line: line.startswith("✓ Nothing to reload"))
        program.terminate()
