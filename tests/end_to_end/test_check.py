"""`synkora check` as a command, with all services available, and with none."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.access.processes import App, Postgres
from tests.access.world import SECRET
from tests.support.forks import run
from tests.support.redis_server import RedisServer, running_redis
from tests.support.server_process import StartServer

PASSWORD = "p@ss:w/o?r#d% of Redis"
METRICS = "a-token-of-prometheus"
SECRETS = (
    SECRET,
    METRICS,
    *(written for password in (PASSWORD, Postgres.password) for written in (password, quote(password, safe=""))),
)


class Place:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it with these settings. Fails if a secret is shown."""
        done = run(self._folder, "check", *options, environment={"PATH": os.environ["PATH"], **variables})
        assert done.stderr == ""
        leaked = [secret for secret in SECRETS if secret in done.stdout]
        assert not leaked, done.stdout
        return done

    def report(self, *options: str, **variables: str) -> tuple[int, dict[str, str]]:
        """Its exit status, and each check with its worst finding."""
        done = self.run("--json", *options, **variables)
        report: dict[str, Any] = json.loads(done.stdout)
        order = ["skipped", "well", "risky", "wrong"]
        found: dict[str, str] = {}
        for finding in report["checks"]:
            assert finding.keys() == {"check", "status", "message", "advice"}
            assert bool(finding["advice"]) is (finding["status"] in ("risky", "wrong"))
            found[finding["check"]] = max(found.get(finding["check"], "skipped"), finding["status"], key=order.index)
        assert report["status"] == max((*found.values(), "well"), key=order.index)
        return done.returncode, found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis(password=PASSWORD) as redis:
        yield redis


def test_every_check_is_listed(place: Place, redis: RedisServer, postgres: Postgres, app: App) -> None:
    """With Redis, the database and the app, only the missing tables of the app are wrong."""
    variables = {
        "NEXTAUTH_SECRET": SECRET,
        "SYNKORA_ENV": "production",
        "ALLOWED_ORIGINS": "https://app.example.com",
        "WS_HOST": "127.0.0.1",
        "WS_PORT": "0",
        "TRUSTED_PROXIES": "127.0.0.1",
        "LIMIT_CLIENTS": "100",
        "METRICS_TOKEN": METRICS,
        "REDIS_URL": redis.url,
        "APP_URL": app.url,
    }
    code, found = place.report(**variables, PROJECT_ACCESS="http")
    assert code == 0
    assert {name for name, status in found.items() if status == "risky"} <= {"user"}  # who may be root
    assert {name for name, status in found.items() if status == "skipped"} == {
        *("previous-secrets", "tls", "redis-failover", "workers", "state"),
        *("database", "database-tables", "database-rights", "database-clock", "database-outbox"),
        *("webhooks", "kept-sessions", "traces"),
    }
    code, found = place.report(**variables, PROJECT_ACCESS="postgres", DATABASE_URL=postgres.url("template1"))
    assert code == 1
    assert found["database"] == found["app"] == found["app-session"] == "well"
    assert {name for name, status in found.items() if status == "wrong"} == {"database-tables"}


def test_nothing_is_there(place: Place, redis: RedisServer, postgres: Postgres) -> None:
    """Closed ports and wrong passwords are wrong, with advice."""
    closed = {"APP_URL": "http://127.0.0.1:1", "REDIS_URL": f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:1"}
    code, found = place.report(NEXTAUTH_SECRET=SECRET, PROJECT_ACCESS="http", WS_PORT="0", **closed)
    assert code == 1
    assert {name for name, status in found.items() if status == "wrong"} == {"app", "redis"}
    wrong_passwords = {
        "REDIS_URL": f"redis://:{quote(PASSWORD, safe='')}x@127.0.0.1:{redis.port}",
        "DATABASE_URL": postgres.url().replace("@127", "x@127"),
    }
    code, found = place.report(NEXTAUTH_SECRET=SECRET, PROJECT_ACCESS="postgres", WS_PORT="0", **wrong_passwords)
    assert code == 1
    assert {name for name, status in found.items() if status == "wrong"} == {"database", "redis"}


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--strict",), 1)])
def test_risks(place: Place, options: tuple[str, ...], code: int) -> None:
    """Risky findings fail the command on request."""
    done = place.run("--port", "0", *options, NEXTAUTH_SECRET="hunter2")
    assert done.returncode == code
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("! secret"))
    assert line.endswith(" NEXTAUTH_SECRET is shorter than 32 bytes")
    assert "hunter2" not in done.stdout


def test_a_broken_setting(tmp_path: Path) -> None:
    """One line and no crash, with any encoding of the terminal."""
    environment = {"PATH": os.environ["PATH"], "WS_PORT": "abc", "PYTHONIOENCODING": "ascii", "NEXTAUTH_SECRET": SECRET}
    command = (sys.executable, "-m", "synkora", "check")  # Python reads PYTHONIOENCODING when it starts
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=60)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[0].split(maxsplit=2) == [
        *("?", "settings"),
        'WS_PORT: "abc" is not a port: a whole number from 0 to 65535',
    ]


def test_a_server_that_runs(place: Place, start_server: StartServer) -> None:
    server = start_server()
    done = place.run("--host", "127.0.0.1", "--port", str(server.port), NEXTAUTH_SECRET=SECRET)
    assert done.returncode == 0
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("✓ port"))
    assert "this server runs there, healthy" in line
