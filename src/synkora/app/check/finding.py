"""What a check finds."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec


class Status(StrEnum):
    """How it is with what was looked at, from good to bad."""

    SKIPPED = "skipped"
    WELL = "well"
    RISKY = "risky"
    WRONG = "wrong"


_GRAVITY: Final = {status: gravity for gravity, status in enumerate(Status)}


class Finding(msgspec.Struct, frozen=True):
    """What the check of that name found, in one sentence, and what to do about it; neither holds a secret."""

    check: str
    status: Status
    message: str
    advice: str = ""


def well(check: str, message: str) -> Finding:
    """All is as it should be."""
    return Finding(check, Status.WELL, message)


def risky(check: str, message: str, advice: str) -> Finding:
    """It works, but not well, not for all or not safely."""
    return Finding(check, Status.RISKY, message, advice)


def wrong(check: str, message: str, advice: str) -> Finding:
    """The server would not start, or people could not work with it."""
    return Finding(check, Status.WRONG, message, advice)


def skipped(check: str, message: str) -> Finding:
    """There is nothing to look at, or no way to."""
    return Finding(check, Status.SKIPPED, message)


def worst(findings: Iterable[Finding]) -> Status:
    """The worst of their statuses; `WELL` where there is none worse."""
    return max((Status.WELL, *(finding.status for finding in findings)), key=_GRAVITY.__getitem__)
