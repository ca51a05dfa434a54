"""The server's log: events with named fields, written as lines for people."""

import logging
import sys
from collections.abc import Mapping
from typing import Any, Final

import structlog

_LINES: Final = {
    "client_connected": "✓ Client connected: {socketId} (User: {userName})",
    "client_disconnected": "✗ Client disconnected: {socketId} ({userName}) - {reason}",
    "project_joined": "✓ {userName} joined project {projectId}",
    "project_left": "✓ {userName} left project {projectId}",
    "relayed": "→ {what} in {projectId} by {userName}",
    "incident": "! {what}{label}",
    "incidents": "! In the last minute: {counts}",
    "caution": "! {text}",
    "project_access": "✓ PROJECT_ACCESS={setting}: {text}",
    "one_of_several": "✓ One of several instances: {instance}",
    "redis_up": "✓ Redis is there: {address}",
    "redis_down": "! Redis is away: {problem}",
    "redis_troubled": "! Redis in trouble: {problem}",
    "presence_refused": "! Presence over all instances is held up: {problem}",
    "instance_gone": "! Instance gone without a word: {instance}",
    "stopping": "✓ Stopping, clients to tell: {clients}",
    "stopped": "✓ Stopped",
}
_SHOWN: Final = 200  # characters of one value
_OWN_WORDS: Final = frozenset(("counts", "problem", "text"))  # fields that are the server's own, and bounded


def configure_logs(level: str) -> None:
    """Write events of `level` (debug, info, warning, error) and above to stdout, and uvicorn's errors with them."""
    structlog.configure(
        processors=[_render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Output(sys.stdout),
        cache_logger_on_first_use=True,
    )
    # A bad HTTP request is the client's fault, and is answered.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)


def _render(_: Any, method: str, fields: structlog.typing.EventDict) -> str:
    event = str(fields.pop("event"))
    error = fields.pop("exc_info", None)
    line = _LINES.get(event)
    if line is not None:
        text = line.format_map(_Printable(fields))
    else:
        text = " ".join([f"{method}: {event}", *(f"{name}={_printable(value)}" for name, value in fields.items())])
    if error:
        trace = structlog.processors.format_exc_info(None, method, {"exc_info": error})["exception"]
        text += "".join(f"\n    {_escaped(line)}" for line in trace.split("\n"))
    return text


class _Output(structlog.PrintLogger):
    """Where lines go; a full disk, or a reader that has gone, costs the lines and nothing else."""

    def msg(self, message: str) -> None:
        """Write a line."""
        try:
            super().msg(message)
        except OSError:
            pass

    debug = info = warning = error = exception = critical = msg


class _Printable(dict[str, str]):
    """Fields as text that cannot forge a line or move a terminal's cursor."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        super().__init__(
            {name: _escaped(str(value)) if name in _OWN_WORDS else _printable(value) for name, value in fields.items()}
        )

    def __missing__(self, key: str) -> str:
        return "?"


def _printable(value: object) -> str:
    text = str(value)
    if len(text) > _SHOWN:
        text = text[:_SHOWN] + "…"
    return _escaped(text)


def _escaped(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
