"""The modules that the package loads: a program pays for no library that it does not use."""

import subprocess
import sys

import pytest

import synkora

#: What a library of Socket.IO has no use for: the product's command line, settings, policies, metrics and pages.
PRODUCT = [
    "asyncpg",
    "cryptography",
    "hiredis",
    "httpx",
    "idna",
    "joserfc",
    "opentelemetry",
    "packaging",
    "prometheus_client",
    "pydantic",
    "typer",
]
SERVER = ["starlette", "uvicorn", "uvloop"]
ENGINE = ["httptools", "msgspec", "multidict", "picows"]


def loaded_by(code: str) -> set[str]:
    """The modules and the top-level packages that a new interpreter has loaded after `code`."""
    listing = f"{code}\nimport sys\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True, timeout=60)
    modules = done.stdout.split()
    return {*modules, *(module.partition(".")[0] for module in modules)}


@pytest.mark.parametrize(
    ("code", "unused"),
    [
        ("import synkora", [*PRODUCT, *SERVER, *ENGINE, "asyncio", "rich", "structlog"]),
        ("from synkora import SocketServer", [*PRODUCT, *SERVER, "rich", "structlog"]),
        ("from synkora import RedisAdapter", [*(set(PRODUCT) - {"hiredis"}), *SERVER, "rich", "structlog"]),
        ("from synkora import Emitter, SyncEmitter, EmitFailed", [*PRODUCT, *SERVER, "rich", "structlog"]),
        (
            "from synkora import SyncEmitter; SyncEmitter('redis://127.0.0.1')",
            [*(set(PRODUCT) - {"hiredis"}), *SERVER, "rich", "structlog"],
        ),
        (
            "from synkora import SyncEmitter; SyncEmitter('http://127.0.0.1', token='t')",
            [*(set(PRODUCT) - {"httpx", "idna"}), *SERVER, "structlog"],
        ),
        ("from synkora import serve", [*PRODUCT, "rich", "starlette", "structlog"]),
    ],
)
def test_the_library_imports_nothing_of_the_product(code: str, unused: list[str]) -> None:
    assert loaded_by(code).isdisjoint(unused)


def test_the_server_loads_nothing_that_its_settings_do_not_ask_for() -> None:
    """Neither Redis' client nor those of the policies, nor the console, the playground and the Admin UI, nor rich."""
    code = (
        "from synkora.__main__ import _import_structlog\n_import_structlog()\n"
        "import synkora.app.commands, synkora.app.server"
    )
    unused = [
        "asyncpg",
        "hiredis",
        "httpx",
        "idna",
        "opentelemetry",
        "rich",
        "synkora.cluster",
        "synkora.redis_adapter",
    ]
    unused += [f"synkora.app.{part}" for part in ("admin_ui", "check", "console", "playground", "schema")]
    loaded = loaded_by(code)
    assert loaded.isdisjoint(unused)
    assert loaded >= {"synkora.app.instance", "uvicorn", "structlog"}


def test_each_public_name_can_be_imported() -> None:
    assert {name for name in synkora.__all__ if getattr(synkora, name, None) is None} == set()
    assert set(synkora.__all__) <= set(dir(synkora))


def test_a_name_that_is_not_public_is_refused_as_any_module_refuses_it() -> None:
    with pytest.raises(AttributeError, match="module 'synkora' has no attribute 'Nothing'"):
        _ = synkora.Nothing  # type: ignore[attr-defined]  # the mistake
