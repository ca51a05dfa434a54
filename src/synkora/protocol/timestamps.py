"""Times in the app's format: ISO 8601 in UTC with milliseconds and a `Z`, like JavaScript's `toISOString`."""

from datetime import UTC, datetime


def now() -> str:
    """Return the current time."""
    return timestamp(datetime.now(UTC))


def timestamp(moment: datetime) -> str:
    """Return a time as text. UTC is written `Z`; a time without a zone stays without a zone."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
