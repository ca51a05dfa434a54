"""The `synkora` command as a process."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.support.forks import run

from synkora.app.settings.variables import describe
from synkora.identity.tokens import Keyring

SYNKORA = Path(sys.executable).with_name("synkora")


@pytest.fixture
def environment() -> dict[str, str]:
    """This environment without any setting, and a wide terminal."""
    names = {variable.name for variable in describe()}
    return {name: value for name, value in os.environ.items() if name not in names} | {"COLUMNS": "300"}


def start(folder: Path, environment: dict[str, str], *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_version(tmp_path: Path, environment: dict[str, str]) -> None:
    done = start(tmp_path, environment, SYNKORA, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"synkora {version('synkora')}\n", "")


def test_module(tmp_path: Path, environment: dict[str, str]) -> None:
    """`python -m synkora` is the same command, by the same name."""
    done = start(tmp_path, environment, sys.executable, "-m", "synkora", "--help")
    assert done.returncode == 0
    assert "Usage: synkora [OPTIONS] COMMAND" in done.stdout


def test_help(tmp_path: Path, environment: dict[str, str]) -> None:
    """It describes the server and its commands, and how to begin."""
    done = run(tmp_path, "--help", environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("WebSocket server", "First steps", ".env.local", "NEXT_PUBLIC_WEBSOCKET_URL", "serve", "token"):
        assert word in done.stdout


def test_help_of_serve_lists_the_settings(tmp_path: Path, environment: dict[str, str]) -> None:
    done = run(tmp_path, "serve", "--help", environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    for variable in describe():
        note = "required" if variable.default is None else variable.default
        assert f"{variable.name}{f' ({note})' if note else ''}: {variable.description}" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("serve",), ("token", "--id", "u1", "--name", "Alice")])
def test_wrong_settings(tmp_path: Path, environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    """Any command lists invalid settings on stderr, and the exit status is 1."""
    done = run(tmp_path, *arguments, environment=environment | {"WS_PORT": "abc"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "NEXTAUTH_SECRET is not set: put the secret of the web app into the environment or into .env.local",
        'WS_PORT: "abc" is not a port: a whole number from 0 to 65535',
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--port", "70000"),
        ("token",),
        ("token", "--id", "u1"),
        ("token", "--id", " ", "--name", "Alice"),
        ("token", "--id", "u1", "--name", "Alice", "--expires-in", "0"),
        ("frobnicate",),
    ],
)
def test_wrong_arguments(tmp_path: Path, environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    """A usage error on stderr with status 2, without a traceback."""
    done = run(tmp_path, *arguments, environment=environment | {"NEXTAUTH_SECRET": "s3cret"})
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: synkora" in done.stderr
    assert "Traceback" not in done.stderr


def test_token(tmp_path: Path, environment: dict[str, str]) -> None:
    """`token` prints one line: a token that the secret verifies, with the requested lifetime."""
    (tmp_path / ".env.local").write_text("NEXTAUTH_SECRET=from-the-file\n")
    done = run(
        tmp_path,
        *("token", "--id", "u1", "--name", "Алиса", "--email", "a@b.test", "--picture", "https://b.test/a.png"),
        *("--expires-in", "3600"),
        environment=environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    claims: dict[str, Any] = Keyring("from-the-file").verify(done.stdout.strip())
    expected = {"id": "u1", "name": "Алиса", "email": "a@b.test", "picture": "https://b.test/a.png"}
    assert {claim: claims[claim] for claim in expected} == expected
    assert claims["exp"] - claims["iat"] == 3600


def test_token_for_a_month(tmp_path: Path, environment: dict[str, str]) -> None:
    """Without `--expires-in`, a token lasts thirty days. Missing options are no claims."""
    done = run(
        tmp_path, "token", "--id", "u1", "--name", "Alice", environment=environment | {"NEXTAUTH_SECRET": "s3cret"}
    )
    claims: dict[str, Any] = Keyring("s3cret").verify(done.stdout.strip())
    assert claims["exp"] - claims["iat"] == 30 * 24 * 3600
    assert claims.keys().isdisjoint({"email", "picture"})
