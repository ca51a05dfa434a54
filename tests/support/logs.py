"""The server's log in a test."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from synkora.app.logs.configure import configure_logs
from synkora.app.logs.repeated_lines import RepeatedLines
from synkora.app.settings.values import LogFormat
from synkora.engine.logs import ROOT, Entry


@contextmanager
def configured_logs(
    level: str, form: LogFormat = "text", tail: structlog.typing.Processor | None = None
) -> Iterator[RepeatedLines]:
    """Configure the log, and restore it and the libraries' logs afterwards."""
    libraries = [logging.getLogger(name) for name in ("asyncio", "uvicorn", ROOT)]
    before = [(library.level, library.handlers, library.propagate) for library in libraries]
    try:
        yield configure_logs(level, form, tail=tail)
    finally:
        structlog.reset_defaults()
        for library, (former, handlers, propagate) in zip(libraries, before, strict=True):
            library.setLevel(former)
            library.handlers, library.propagate = handlers, propagate


@contextmanager
def capture_logs() -> Iterator[list[dict[str, Any]]]:
    """Entries of the product and of the library, in order, as fields with `event` and `log_level`."""
    library = logging.getLogger(ROOT)
    before = (library.level, library.handlers, library.propagate)
    with structlog.testing.capture_logs() as entries:
        library.setLevel(logging.DEBUG)
        library.handlers, library.propagate = [_Collector(entries)], False
        try:
            yield entries  # type: ignore[misc]  # structlog's entries are mutable mappings, and dicts
        finally:
            library.setLevel(before[0])
            library.handlers, library.propagate = before[1], before[2]


class _Collector(logging.Handler):
    """Adds the library's entries to a list."""

    def __init__(self, entries: list[Any]) -> None:
        super().__init__()
        self._entries = entries

    def emit(self, record: logging.LogRecord) -> None:
        assert isinstance(record.msg, Entry)
        self._entries.append({"event": record.msg.event, "log_level": record.levelname.lower(), **record.msg.fields})


def log_error(log: Any, way: str, words: str, **fields: Any) -> None:
    """Log an error with this message as `handler_failed`, by `exception` or with `exc_info`."""
    try:
        raise ValueError(words)
    except ValueError as error:
        if way == "exc_info":
            log.error("handler_failed", exc_info=error, **fields)
        else:
            log.exception("handler_failed", **fields)
