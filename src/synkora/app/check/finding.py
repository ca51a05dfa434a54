"""Findings of the checks."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec


class FindingStatus(StrEnum):
    """The result of a check, from good to bad."""

    SKIPPED = "skipped"
    WELL = "well"
    RISKY = "risky"
    WRONG = "wrong"


_GRAVITY: Final = {status: gravity for gravity, status in enumerate(FindingStatus)}


class Finding(msgspec.Struct, frozen=True):
    """A check's result in one sentence, and advice. Neither holds a secret."""

    check: str
    status: FindingStatus
    message: str
    advice: str = ""


def well(check: str, message: str) -> Finding:
    """All is as it should be."""
    return Finding(check, FindingStatus.WELL, message)


def risky(check: str, message: str, advice: str) -> Finding:
    """It works, but not well, not for all or not safely."""
    return Finding(check, FindingStatus.RISKY, message, advice)


def wrong(check: str, message: str, advice: str) -> Finding:
    """The server would not start, or users could not work with it."""
    return Finding(check, FindingStatus.WRONG, message, advice)


def skipped(check: str, message: str) -> Finding:
    """There is nothing to look at, or no way to."""
    return Finding(check, FindingStatus.SKIPPED, message)


def worst(findings: Iterable[Finding]) -> FindingStatus:
    """The worst status; `WELL` without findings."""
    return max((FindingStatus.WELL, *(finding.status for finding in findings)), key=_GRAVITY.__getitem__)
