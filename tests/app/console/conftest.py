from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from tests.app.console.desk import Desk

from synkora.app.logs.text import render_text


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Console</title>")
    (tmp_path / "assets" / "main-1a2b.js").write_text("start();")
    return tmp_path


@pytest.fixture
async def desk(files: Path) -> AsyncIterator[Desk]:
    desk = Desk(files)
    # The loggers of the server's modules must not stay with this test's tail.
    structlog.configure(processors=[desk.tail, render_text], cache_logger_on_first_use=False)
    with desk.console:
        yield desk
    structlog.reset_defaults()
