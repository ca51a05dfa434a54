"""Sets up the server's log: its level, its form (`text.py` or `json.py`), its output, and the libraries' lines."""

import functools
import logging
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

import structlog

from synkora.app.logs.json import render_json
from synkora.app.logs.output import Output
from synkora.app.logs.repeated_lines import RepeatedLines
from synkora.app.logs.text import render_colored, render_numbered, render_text
from synkora.app.settings.values import LogFormat
from synkora.engine.logs import ROOT, Entry
from synkora.serving.request_ids import current_request_id

#: Libraries whose errors appear only in their own log messages.
LIBRARIES: Final = ("asyncio", "uvicorn")
#: Where a message of asyncio begins to show values, such as the arguments of a callback: an event, or a session's key.
_VALUES: Final = re.compile(r"[\n(<\[{]")


def configure_logs(
    level: str,
    form: LogFormat = "text",
    libraries: Sequence[str] = LIBRARIES,
    tail: structlog.typing.Processor | None = None,
    output: Output | None = None,
    instance_id: str = "",
    worker: int | None = None,
) -> RepeatedLines:
    """Write events of `level` (debug, info, warning, error) and above to stdout, and the libraries' errors with them.

    Text is coloured on a terminal, unless NO_COLOR is set (no-color.org). `tail` gets the written entries.
    `output` is the result of `standard_output`; without it, the first line creates one. Each line has the number of the
    `worker`, if given, and in JSON the `instance_id`. Returns the counter of warnings and errors, which also reports
    repeated ones.
    """
    repeats = RepeatedLines()
    renderer = _renderer(form, instance_id, worker)
    one_output = functools.cache(lambda: output or standard_output(form, instance_id, worker))
    structlog.configure(
        processors=[repeats, _add_request_id, *((tail,) if tail else ()), renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Logger(one_output()),
        cache_logger_on_first_use=True,
    )
    forward_library(level)
    for name in libraries:
        library = logging.getLogger(name)
        library.setLevel(logging.ERROR)  # a bad HTTP request is the client's fault, and is answered
        library.handlers = [_Forwarder()]
        library.propagate = False
    return repeats


def forward_library(level: str) -> None:
    """Forward the library's log lines of `level` and above to the server's log."""
    library = logging.getLogger(ROOT)
    library.setLevel(level.upper())
    library.handlers = [_LibraryForwarder()]
    library.propagate = False


def standard_output(form: LogFormat, instance_id: str = "", worker: int | None = None) -> Output:
    """Return a writer to standard output. It reports lost lines in the given form."""

    def tell_lost(lines: int) -> str:
        return str(_renderer(form, instance_id, worker)(None, "warning", {"event": "lines_lost", "lines": lines}))

    return Output(sys.stdout, tell_lost)


def _renderer(form: LogFormat, instance_id: str, worker: int | None) -> structlog.typing.Processor:
    if form == "json":
        return functools.partial(render_json, instance_id=instance_id, worker=worker)
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not is_terminal
    render = render_text if is_plain else render_colored
    return render if worker is None else functools.partial(render_numbered, render, worker)


def _add_request_id(_: Any, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add the id of the current request (a structlog processor)."""
    request_id = current_request_id()
    if request_id is not None:
        fields["requestId"] = request_id
    return fields


class _LibraryForwarder(logging.Handler):
    """Forwards log records of Synkora's library, with event and fields."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record as an entry of the server."""
        entry = record.msg if isinstance(record.msg, Entry) else Entry(record.getMessage(), {})
        getattr(structlog.get_logger(), record.levelname.lower())(entry.event, **entry.fields)


class _Forwarder(logging.Handler):
    """Forwards log records of other libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record as an event of the server."""
        error = record.exc_info[1] if record.exc_info else None
        message = record.getMessage()
        if record.name == "asyncio":
            message = _VALUES.split(message, 1)[0].rstrip()
        structlog.get_logger().error("library_error", logger=record.name, message=message, exc_info=error)


class _Logger:
    """The logger that structlog passes lines to."""

    def __init__(self, output: Output) -> None:
        self.debug = self.info = self.warning = self.error = self.exception = self.critical = output.write
