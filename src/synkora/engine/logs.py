"""The library's log: standard `logging` below the logger `synkora`, with named fields."""

import logging
import traceback
from collections.abc import Mapping
from typing import Final

ROOT: Final = "synkora"


class Entry:
    """The message of a log record: an event and its fields. Its text is one line, followed by an error's traceback."""

    __slots__ = ("event", "fields")

    def __init__(self, event: str, fields: Mapping[str, object]) -> None:
        self.event = event
        self.fields = fields

    def __str__(self) -> str:
        words = [self.event, *(f"{name}={value!r}" for name, value in self.fields.items() if name != "exception")]
        trace = self.fields.get("exception")
        return " ".join(words) if trace is None else f"{' '.join(words)}\n{trace}"


class Log:
    """Writes entries of one module."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: object) -> None:
        """Log normal operation."""
        self._logger.info(Entry(event, fields), stacklevel=2)

    def warning(self, event: str, **fields: object) -> None:
        """Log a condition that needs attention."""
        self._logger.warning(Entry(event, fields), stacklevel=2)

    def error(self, event: str, **fields: object) -> None:
        """Log a failure."""
        self._logger.error(Entry(event, fields), stacklevel=2)


def fault(error: BaseException) -> dict[str, str]:
    """Return the log fields of an error: its type and traceback, without the values of variables.

    With `exc_info`, some handlers would print local variables, and these may contain tokens.
    """
    return {"errorType": type(error).__name__, "exception": "".join(traceback.format_exception(error)).rstrip("\n")}
