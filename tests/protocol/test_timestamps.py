"""Times in the app's format."""

import re
from datetime import UTC, datetime

from synkora.protocol.timestamps import now


def test_now_is_what_javascript_writes() -> None:
    """UTC with milliseconds and a Z, as `toISOString` writes it."""
    before = datetime.now(UTC)
    written = now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", written)
    read = datetime.fromisoformat(written)
    assert before.replace(microsecond=before.microsecond // 1000 * 1000) <= read <= datetime.now(UTC)
