"""Fixtures and hooks of all tests."""

import asyncio
import functools
import gc
import logging
import os
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
import structlog
import uvicorn.server
import uvloop
from httpx._config import create_ssl_context
from hypothesis import HealthCheck, settings
from tests.support.clocks import clock
from tests.support.links import link, make_link, redis

from synkora.engine.logs import ROOT

__all__ = ["clock", "link", "make_link", "redis"]

# A busy machine is no reason to fail. `make fuzz` runs millions of examples, so that fewer than the usual 100 do here.
settings.register_profile("suite", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)


def _shown(report: _Report) -> _Report:
    """In CI a skipped test counts as failed."""
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have workers take files by their names, from all folders: those of `bench` all want the same core."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (item.path.name, item.path))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without garbage collection, which would visit thousands of them again and again, for 3 s."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _shown((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _shown((yield))


@pytest.fixture(autouse=True, scope="session")
def _no_logger_outlives_its_test() -> Generator[None]:
    """Loggers look up their configuration each time: a cached one would hide entries from later tests."""
    configure = structlog.configure

    def configure_without_cache(**options: Any) -> None:
        configure(**{**options, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", configure_without_cache)
        yield


@pytest.fixture(autouse=True, scope="session")
def _certificates_are_loaded_once() -> Generator[None]:
    """Let httpx clients share what they trust: each would parse all certificates of the web, for 30 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx._transports.default.create_ssl_context", functools.cache(create_ssl_context))
        yield


@pytest.fixture(autouse=True, scope="session")
def _servers_stop_at_once() -> Generator[None]:
    """Let uvicorn look every 5 ms instead of every 100 ms whether connections are closed: hundreds of servers stop."""

    async def sleep(delay: float) -> None:
        await asyncio.sleep(delay / 20)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn.server, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
        yield


@pytest.fixture(autouse=True, scope="module")
def _logs_are_configured_for_a_module_alone() -> Generator[None]:
    yield
    structlog.reset_defaults()
    library = logging.getLogger(ROOT)
    library.handlers, library.propagate = [], True
    library.setLevel(logging.NOTSET)
