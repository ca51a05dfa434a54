"""What every test has."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
import structlog
from hypothesis import HealthCheck, settings

# What a machine with much else to do takes long for is no failure.
settings.register_profile("any pace", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any pace")

_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)


#: The files that take longest begin first, so that no worker is left with one of them when the others have ended.
_LONGEST: Final = (
    "end_to_end/test_console.py",
    "end_to_end/test_playground.py",
    "chaos/test_chaos.py",
    "deploy/test_docker.py",
    "bench/test_load.py",
    "hostile/test_hostile.py",
    "bench/test_peers.py",
    "end_to_end/test_churn.py",
)
_TESTS: Final = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files in front; the order within a file, and of all other files, stays."""
    places = {_TESTS / name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def _shown(report: _Report) -> _Report:
    """In CI what was skipped has failed: what it would show has not been shown."""
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _shown((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _shown((yield))


@pytest.fixture(autouse=True, scope="session")
def _no_logger_outlives_its_test() -> Generator[None]:
    """Have loggers look their configuration up each time: one that keeps a test's is deaf to what others capture."""
    configure = structlog.configure

    def configure_without_cache(**options: Any) -> None:
        configure(**{**options, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", configure_without_cache)
        yield


@pytest.fixture(autouse=True, scope="module")
def _logs_are_configured_for_a_module_alone() -> Generator[None]:
    """Forget how a module's tests have had logs written."""
    yield
    structlog.reset_defaults()
