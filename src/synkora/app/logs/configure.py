"""The server's log: events with named fields, written as lines for people or as JSON."""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Final

import structlog

from synkora.app.logs.json import render_json
from synkora.app.logs.repeats import Repeats
from synkora.app.logs.request_ids import add_request_id
from synkora.app.logs.text import render_colored, render_text
from synkora.app.values import LogFormat

#: Libraries whose own words have to be in the log: what goes wrong in them is not seen elsewhere.
LIBRARIES: Final = ("asyncio", "uvicorn")


def configure_logs(
    level: str,
    form: LogFormat = "text",
    libraries: Sequence[str] = LIBRARIES,
    tail: structlog.typing.Processor | None = None,
) -> Repeats:
    """Write events of `level` (debug, info, warning, error) and above to stdout, and the libraries' errors with them.

    Lines for people are coloured on a terminal, unless NO_COLOR is set (no-color.org). `tail` gets what is written.
    Returns what counts warnings and errors, and tells of those that are repeated.
    """
    repeats = Repeats()
    renderer = render_json if form == "json" else _renderer_for_people()
    structlog.configure(
        processors=[repeats, add_request_id, *((tail,) if tail else ()), renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Output(sys.stdout),
        cache_logger_on_first_use=True,
    )
    for name in libraries:
        library = logging.getLogger(name)
        library.setLevel(logging.ERROR)  # a bad HTTP request is the client's fault, and is answered
        library.handlers = [_Forwarder()]
        library.propagate = False
    return repeats


def _renderer_for_people() -> structlog.typing.Processor:
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return render_text if is_plain else render_colored


class _Forwarder(logging.Handler):
    """Hands on what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record as an event of the server's own."""
        error = record.exc_info[1] if record.exc_info else None
        structlog.get_logger().error("library_error", logger=record.name, message=record.getMessage(), exc_info=error)


class _Output(structlog.PrintLogger):
    """Where lines go; a full disk, or a reader that has gone, costs the lines and nothing else."""

    def msg(self, message: str) -> None:
        """Write a line."""
        try:
            super().msg(message)
        except OSError:
            pass

    debug = info = warning = error = exception = critical = msg
