"""The message when a library of an extra is not installed: which extra to install."""

import json
import subprocess
import sys

import pytest

SECRET = "Rk2c7W9sVx0mQpYtB4nE6uHjLzAqD1fG3iKoS5wTvXy="
OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
CHECK = "sys.argv[1:] = ['check', '--json']; from synkora.__main__ import main; main()"


def run_without(module: str, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in an interpreter that cannot import a module (None in `sys.modules` is an ImportError)."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules[{module!r}] = None\n{code}"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"NEXTAUTH_SECRET": SECRET, "WS_HOST": "127.0.0.1", "WS_PORT": "0", **environment},
    )


@pytest.mark.parametrize("module", ["structlog", "typer", "pydantic", "pydantic_settings"])
def test_the_command_names_its_extra(module: str) -> None:
    done = run_without(module, "from synkora.__main__ import main; main()")
    assert done.returncode == 1
    assert done.stderr == (
        f"The synkora command needs {module}, which is not installed: pip install 'synkora[server]'\n"
    )


@pytest.mark.parametrize(
    ("module", "extra", "settings", "named"),
    [
        ("hiredis", "redis", {"REDIS_URL": "redis://127.0.0.1:1"}, "REDIS_URL"),
        (
            "asyncpg",
            "postgres",
            {"PROJECT_ACCESS": "postgres", "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/app"},
            "PROJECT_ACCESS=postgres",
        ),
        ("asyncpg", "postgres", {"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/app"}, "DATABASE_URL"),
        ("httpx", "http", {"PROJECT_ACCESS": "http", "APP_URL": "http://127.0.0.1:1"}, "PROJECT_ACCESS=http"),
    ],
)
def test_a_setting_names_the_extra_that_it_needs(module: str, extra: str, settings: dict[str, str], named: str) -> None:
    done = run_without(module, "sys.argv[1:] = ['serve']; from synkora.__main__ import main; main()", **settings)
    assert done.returncode == 1
    assert done.stderr == f"{named} needs {module}, which is not installed: pip install 'synkora[{extra}]'\n"


@pytest.mark.parametrize("module", ["asyncpg", "hiredis"])
def test_the_checks_skip_what_no_setting_asks_for(module: str) -> None:
    """They run without its library, and name the missing library."""
    done = run_without(module, CHECK)
    findings = json.loads(done.stdout)["checks"]
    missing = [finding for finding in findings if f"needs {module}" in finding["message"]]
    assert {finding["status"] for finding in missing} == {"skipped"}
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("check", "module", "extra", "variable", "asker", "status"),
    [
        ("redis", "hiredis", "redis", ("REDIS_URL", "redis://127.0.0.1:1"), "this check", "wrong"),
        # No reason for a failure: the server serves without traces.
        ("traces", "opentelemetry", "opentelemetry", (OTLP, "http://127.0.0.1:1"), OTLP, "risky"),
    ],
)
def test_a_check_names_the_extra_that_a_variable_needs(
    check: str, module: str, extra: str, variable: tuple[str, str], asker: str, status: str
) -> None:
    done = run_without(module, CHECK, **dict([variable]))
    (finding,) = [finding for finding in json.loads(done.stdout)["checks"] if finding["check"] == check]
    assert (finding["status"], finding["advice"]) == (status, f"pip install 'synkora[{extra}]'")
    assert finding["message"] == f"{asker} needs {module}, which is not installed"
    assert done.returncode == (status == "wrong")


def test_all_names_can_be_imported_without_an_extra() -> None:
    """`import *` omits the extra's names, and each of these names its extra when used."""
    code = "from synkora import *\nprint(SocketServer.__name__, 'RedisAdapter' in globals())"
    assert run_without("hiredis", code).stdout == "SocketServer False\n"
    assert run_without("nothing", code).stdout == "SocketServer True\n"
    done = run_without("hiredis", "from synkora import RedisAdapter")
    assert "synkora.RedisAdapter needs hiredis, which is not installed: pip install 'synkora[redis]'" in done.stderr


def test_another_missing_module_is_no_matter_of_extras() -> None:
    done = run_without("uvicorn", "from synkora import serve")
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr
    assert "synkora[" not in done.stderr


@pytest.mark.parametrize(
    ("module", "extra", "url", "what"),
    [
        ("hiredis", "redis", "'redis://127.0.0.1'", "over Redis"),
        ("httpx", "http", "'http://127.0.0.1', token='t'", "over HTTP"),
    ],
)
def test_an_emitter_names_its_extra(module: str, extra: str, url: str, what: str) -> None:
    done = run_without(module, f"from synkora import SyncEmitter; SyncEmitter({url})")
    problem = f"An emitter {what} needs {module}, which is not installed: pip install 'synkora[{extra}]'"
    assert problem in done.stderr
