"""The message that holds several events."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from synkora.app.webhooks.queue import WebhookEvent

MOST_EVENTS: Final = 100
_MOST_BYTES: Final = 262_144


class WebhookMessage(NamedTuple):
    """A message; the same events have the same id."""

    id: str
    body: bytes
    events: Sequence[WebhookEvent]

    @classmethod
    def of(cls, events: Sequence[WebhookEvent]) -> "WebhookMessage":
        """Return a message with the first of the events: as many as it may hold, one at least."""
        texts: list[bytes] = []
        size = 0
        for event in events[:MOST_EVENTS]:
            text = _text(event)
            size += len(text)
            if texts and size > _MOST_BYTES:
                break
            texts.append(text)
        held = events[: len(texts)]
        return cls(f"msg_{held[0].id}_{len(held)}", b'{"events":[' + b",".join(texts) + b"]}", held)


def _text(event: WebhookEvent) -> bytes:
    at = datetime.fromtimestamp(event.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f'{{"id":"{event.id}","timestamp":"{at}",'.encode() + event.content[1:]
