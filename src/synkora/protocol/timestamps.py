"""Times as the app writes them: UTC, ISO 8601 with milliseconds and a `Z`, as JavaScript's `toISOString`."""

from datetime import UTC, datetime


def now() -> str:
    """The present time."""
    return timestamp(datetime.now(UTC))


def timestamp(moment: datetime) -> str:
    """A time. UTC is written `Z`; a time without a zone stays without one."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
