"""The server's log, as it is while a server runs, for the length of a test."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from synkora.app.logs.configure import configure_logs
from synkora.app.logs.repeats import Repeats
from synkora.app.values import LogFormat


@contextmanager
def configured_logs(
    level: str, form: LogFormat = "text", tail: structlog.typing.Processor | None = None
) -> Iterator[Repeats]:
    """Configure the log, and leave it and the libraries' logs as they were."""
    libraries = [logging.getLogger(name) for name in ("asyncio", "uvicorn")]
    before = [(library.level, library.handlers, library.propagate) for library in libraries]
    try:
        yield configure_logs(level, form, tail=tail)
    finally:
        structlog.reset_defaults()
        for library, (former, handlers, propagate) in zip(libraries, before, strict=True):
            library.setLevel(former)
            library.handlers, library.propagate = handlers, propagate
