"""How the server is, in one word."""

from typing import NamedTuple


class Status(NamedTuple):
    """`healthy`, `degraded` with the reason, or `shutting down`."""

    word: str
    reason: str | None


def status_of(*, is_closing: bool, problem: str | None) -> Status:
    """The status of a server; `problem` is why it is not joined to the others as it should be."""
    if is_closing:
        return Status("shutting down", None)
    return Status("degraded", problem) if problem else Status("healthy", None)
