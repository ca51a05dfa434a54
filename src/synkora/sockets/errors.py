"""What a handler may raise to refuse, and what it may have to catch."""

from collections.abc import Sequence
from typing import Any, Final

#: Handlers that cannot refuse.
_ENDS: Final = ("disconnect", "disconnecting")


class ConnectRefused(Exception):
    """Refuses a client's CONNECT: it gets a `connect_error` with `message`, and with `data` where there is some.

    With `close` the whole connection ends then.
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
    """Refuses an event: its sender gets an `error` event with `message` and `details`, and the connection goes on."""

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.details = details


def other_refusal(event: str, error: BaseException) -> dict[str, str]:
    """A field of the log for an exception that was meant to refuse, and does not: which one does.

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
    """An event was not acknowledged in time, or the client left before it did.

    `answers` are those that came where several were asked for.
    """

    def __init__(self, message: str, answers: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.answers = list(answers)


class TooManyCalls(RuntimeError):
    """A client owes as many acks as it may, and is not asked for another."""
