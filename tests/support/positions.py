"""The positions of events from a server with recovery."""

import re
from typing import Any, Final

POSITION: Final = re.compile(r"[0-9a-z]{8}(?:[0-9a-z]{8})?\.[0-9a-f]+(\.[0-9A-Za-z]+\.[0-9a-f]+)?")


def without_position(event: list[Any]) -> list[Any]:
    """An event without the position that may be its last argument."""
    last = event[-1]
    return event[:-1] if isinstance(last, str) and POSITION.fullmatch(last) else event
