"""Exceptions that handlers raise to refuse, and exceptions of `call`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

#: Names of handlers that cannot refuse.
_ENDS: Final = ("disconnect", "disconnecting")


class ConnectRefused(Exception):
    """Raised by `on_connect` and `use` to refuse a client: it gets `connect_error` with `message`, and `data` if given.

    `data` is a JSON value. With `close`, the whole connection ends.
    """

    def __init__(self, message: str, data: object = None, *, close: bool = False) -> None:
        super().__init__(message)
        self.data = data
        self.close = close


def check_admitted(decision: object) -> None:
    """Refuse a client whose check returned False, as in python-socketio. Raises `ConnectRefused`."""
    if decision is False:
        raise ConnectRefused("Connection refused")


class EventRefused(Exception):
    """Raised by a handler of an event to refuse the event.

    The sender gets an `error` event, or with `refusals="ack"` an ack, with `message`, the event's name and `details`,
    which are JSON values. The connection stays open.
    """

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.details = details


def other_refusal(event: str, error: BaseException) -> dict[str, str]:
    """Return a log field with the right exception, for an exception that does not refuse but was meant to.

    `ConnectionRefusedError` is the exception of python-socketio, and Python's own: the latter has an `errno` if a
    connection of the application was refused.
    """
    is_foreign = type(error).__name__ == "ConnectionRefusedError" and getattr(error, "errno", None) is None
    if event == "connect" and (is_foreign or isinstance(error, EventRefused)):
        return {"hint": "ConnectRefused refuses a client"}
    if event not in _ENDS and event != "connect" and (is_foreign or isinstance(error, ConnectRefused)):
        return {"hint": "EventRefused refuses an event"}
    return {}


class AckTimeout(TimeoutError):
    """An event was not acknowledged in time, or the client has disconnected before.

    `answers` are the received acks of a broadcast, a list with the first argument of each.
    """

    def __init__(self, message: str, answers: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.answers = list(answers)


@contextmanager
def naming_event(event: str) -> Iterator[None]:
    """Put the name of an event before the message of an `AckTimeout`."""
    try:
        yield
    except AckTimeout as error:
        raise AckTimeout(f"{event!r}: {error}", error.answers) from None


class TooManyCalls(RuntimeError):
    """1,000 acks of a client are missing: the event has not been sent."""
