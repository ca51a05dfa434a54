"""The queue of events in Redis, which the scripts of presence fill."""

from collections.abc import Sequence
from typing import Any, Final

from synkora.app.webhooks.queue import QueueUnavailable, WebhookEvent, event_id
from synkora.cluster.presence_scripts import Keys
from synkora.redis.link import Link, LinkDown, RedisRefused, Script

#: Seconds; longer than a request, so that a sender that lives does not lose it.
LEASE: Final = 10.0

_FIRST: Final = Script.load(__package__, "first")
_REMOVE: Final = Script.load(__package__, "remove")


class RedisQueue:
    """The queue of all instances. One of them sends at a time: the one with the lease."""

    def __init__(self, link: Link, keys: Keys, *, lease: float = LEASE) -> None:
        self.dropped = 0
        self.waiting = 0
        self.oldest: int | None = None
        self._link = link
        self._keys = keys
        self._lease = round(lease * 1000)

    async def first(self, most: int) -> Sequence[WebhookEvent] | None:
        reply = await self._ask(self._lease, most)
        if reply is None:
            self.waiting, self.oldest = 0, None
            return None
        self.waiting, dropped, entries = reply
        self.dropped += dropped
        events = [_event(name, fields[1]) for name, fields in entries]
        self.oldest = events[0].at if events else None
        return events

    async def remove(self, events: Sequence[WebhookEvent]) -> None:
        keys = self._keys
        last = "-".join(str(int(part)) for part in events[-1].id.split("-"))
        await self._run(_REMOVE, (keys.webhooks, keys.webhook_state), (last, len(events)))

    async def release(self) -> None:
        await self._ask(0, 0)

    async def _ask(self, lease: int, most: int) -> Any:
        keys = self._keys
        names = (keys.webhook_sender, keys.webhooks, keys.webhook_state)
        return await self._run(_FIRST, names, (self._link.uid, lease, most))

    async def _run(self, script: Script, keys: Sequence[bytes], args: Sequence[str | int]) -> Any:
        try:
            return await self._link.run(script, keys, args)
        except (LinkDown, RedisRefused):
            raise QueueUnavailable from None


def _event(name: bytes, content: bytes) -> WebhookEvent:
    milliseconds, _, number = name.decode().partition("-")
    # The id of a project may be any text: halves of characters are not UTF-8.
    text = content.decode(errors="replace").encode()
    return WebhookEvent(event_id(int(milliseconds), int(number)), int(milliseconds), text)
