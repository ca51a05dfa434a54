"""The time as the app writes it."""

from datetime import UTC, datetime


def now() -> str:
    """The time in UTC, ISO 8601 with milliseconds and a `Z`, as JavaScript's `toISOString`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
