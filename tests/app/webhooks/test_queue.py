import json

import pytest

from synkora.app.webhooks import queue as queue_module
from synkora.app.webhooks.message import MOST_EVENTS, WebhookMessage
from synkora.app.webhooks.queue import MemoryQueue, WebhookEvent
from synkora.collaboration.transitions import Transition, TransitionData


def entered(queue: MemoryQueue, *users: str) -> None:
    for user in users:
        queue.add(Transition.ENTERED, TransitionData("p", user))


async def users(queue: MemoryQueue, most: int = 100) -> list[str]:
    return [json.loads(event.content)["data"]["userId"] for event in await queue.first(most)]


async def test_events_are_taken_in_order_and_once() -> None:
    queue = MemoryQueue()
    entered(queue, "a", "b", "c")
    assert await users(queue, 2) == ["a", "b"]
    first = await queue.first(2)
    await queue.remove(first)
    await queue.remove(first)
    assert await users(queue) == ["c"]
    assert (queue.waiting, queue.dropped) == (1, 0)


async def test_ids_ascend_also_as_texts() -> None:
    queue = MemoryQueue()
    entered(queue, *map(str, range(1000)))
    ids = [event.id for event in await queue.first(1000)]
    assert ids == sorted(set(ids))


async def test_ids_ascend_while_the_clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was set back, and a million events have come since."""
    monkeypatch.setattr(queue_module, "time", lambda: 1.0)
    queue = MemoryQueue()
    queue._last = (5000, 999_997)
    entered(queue, *"abcd")
    events = await queue.first(100)
    ids = [event.id for event in events]
    assert ids == sorted(set(ids))
    await queue.remove(events)
    assert queue.waiting == 0


async def test_the_oldest_events_are_dropped_from_a_full_queue() -> None:
    """By their number, and by their bytes."""
    queue = MemoryQueue(most_events=2)
    entered(queue, "a", "b", "c")
    assert await users(queue) == ["b", "c"]
    assert queue.dropped == 1
    queue = MemoryQueue(most_bytes=1000)
    entered(queue, *("x" * 300 + name for name in "abc"))
    assert [user[-1] for user in await users(queue)] == ["b", "c"]
    assert queue.dropped == 1


async def test_an_event_larger_than_the_queue_is_dropped() -> None:
    queue = MemoryQueue(most_bytes=100)
    entered(queue, "x" * 100)
    assert (queue.waiting, queue.dropped, queue.oldest) == (0, 1, None)


def test_a_message_is_bounded_in_events_and_bytes() -> None:
    """It has one event at least."""
    small = [WebhookEvent(str(number), 0, b'{"type":"t"}') for number in range(MOST_EVENTS + 1)]
    assert len(WebhookMessage.of(small).events) == MOST_EVENTS
    large = [WebhookEvent(str(number), 0, b'{"type":"%s"}' % (b"t" * 200_000)) for number in range(2)]
    assert len(WebhookMessage.of(large).events) == 1


def test_a_message_holds_its_events_with_ids_and_times() -> None:
    event = WebhookEvent("1-2", 1_700_000_000_123, b'{"type":"user.left","data":{"projectId":"p","userId":"u"}}')
    assert json.loads(WebhookMessage.of([event]).body) == {
        "events": [
            {
                "id": "1-2",
                "timestamp": "2023-11-14T22:13:20.123Z",
                "type": "user.left",
                "data": {"projectId": "p", "userId": "u"},
            }
        ]
    }
