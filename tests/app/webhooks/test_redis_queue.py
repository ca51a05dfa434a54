"""The queue in Redis, which the scripts of presence fill."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from tests.support.links import MakeLink, started
from tests.support.processes import PATIENCE, free_port
from tests.support.redis_server import RedisServer
from tests.support.servers import until
from tests.support.webhook_receiver import SECRET, WebhookReceiver, receiving

from synkora.app.webhooks.queue import QueueUnavailable
from synkora.app.webhooks.receiver import TIMEOUT, Receiver
from synkora.app.webhooks.redis_queue import LEASE, RedisQueue
from synkora.app.webhooks.sender import RetryPolicy, WebhookSender
from synkora.cluster.presence_scripts import Keys

KEYS = Keys("synkora:")
QUICK = RetryPolicy(first_pause=0.005, longest_pause=0.01)


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with receiving(free_port()) as receiver:
        yield receiver


async def make_queue(make_link: MakeLink, lease: float = LEASE) -> RedisQueue:
    """The queue of another instance."""
    link = await started(make_link())
    return RedisQueue(link, KEYS, lease=lease)


def add(redis: RedisServer, *users: str) -> None:
    for user in users:
        content = json.dumps({"type": "user.entered", "data": {"projectId": "p", "userId": user}})
        redis.do("XADD", KEYS.webhooks, "*", "event", content)
        redis.do("HINCRBY", KEYS.webhook_state, "bytes", len(content))


async def users(queue: RedisQueue, most: int = 100) -> list[str] | None:
    events = await queue.first(most)
    return None if events is None else [json.loads(event.content)["data"]["userId"] for event in events]


async def test_one_instance_sends(make_link: MakeLink, redis: RedisServer) -> None:
    """Another does when the first gives up its lease."""
    add(redis, "a", "b")
    first, second = await make_queue(make_link), await make_queue(make_link)
    assert await users(first, 1) == ["a"]
    assert await users(second) is None
    await second.release()
    assert await users(first) == ["a", "b"]
    assert (first.waiting, second.waiting, second.oldest) == (2, 0, None)
    assert first.oldest is not None
    await first.release()
    assert await users(second) == ["a", "b"]
    assert await users(first) is None


async def test_another_instance_sends_after_a_death(make_link: MakeLink, redis: RedisServer) -> None:
    add(redis, "a")
    first, second = await make_queue(make_link, lease=0.05), await make_queue(make_link)
    assert await users(first) == ["a"]
    async with asyncio.timeout(PATIENCE):
        while await users(second) is None:
            await asyncio.sleep(0.01)
    assert await users(first) is None


def test_a_request_is_shorter_than_the_lease() -> None:
    assert TIMEOUT < LEASE


async def test_events_that_are_done_are_removed(make_link: MakeLink, redis: RedisServer) -> None:
    """Once; the size of what is left is known."""
    add(redis, "a", "b", "c")
    queue = await make_queue(make_link)
    events = await queue.first(2)
    assert events is not None
    assert [event.id for event in events] == sorted(event.id for event in events)
    await queue.remove(events)
    await queue.remove(events)
    assert await users(queue) == ["c"]
    last = await queue.first(1)
    assert last is not None
    assert int(redis.do("HGET", KEYS.webhook_state, "bytes")) == len(last[0].content)
    await queue.remove(last)
    assert await users(queue) == []
    assert redis.do("EXISTS", KEYS.webhook_state) == 0


async def test_events_that_were_dropped_are_counted_by_one_instance(make_link: MakeLink, redis: RedisServer) -> None:
    redis.do("HSET", KEYS.webhook_state, "dropped", 7)
    first, second = await make_queue(make_link), await make_queue(make_link)
    for queue in (first, second, first):
        await queue.first(1)
    assert (first.dropped, second.dropped) == (7, 0)


async def test_half_a_character_becomes_valid_text(make_link: MakeLink, redis: RedisServer) -> None:
    """The id of a project may be any text."""
    redis.do("XADD", KEYS.webhooks, "*", "event", b'{"type":"t","data":{"projectId":"\xed\xa0\xbd"}}')
    (event,) = await (await make_queue(make_link)).first(1) or ()
    assert set(json.loads(event.content)["data"]["projectId"]) == {"\ufffd"}


async def test_without_redis_the_queue_says_so(make_link: MakeLink, redis: RedisServer) -> None:
    queue = await make_queue(make_link)
    redis.kill()
    with pytest.raises(QueueUnavailable):
        await queue.first(1)


async def test_several_instances_send_each_event_once_and_in_order(
    make_link: MakeLink, redis: RedisServer, receiver: WebhookReceiver
) -> None:
    """Also when the one that sends stops, and another takes over."""
    expected: list[str] = []

    async def write(number: int) -> None:
        names = [f"u{number}-{each}" for each in range(20)]
        expected.extend(names)
        await asyncio.to_thread(add, redis, *names)

    for number in range(3):
        queues = [await make_queue(make_link) for _ in range(2)]
        senders = [WebhookSender(each, Receiver(receiver.url, [SECRET]), retries=QUICK, poll=0.005) for each in queues]
        receiver.statuses = [500]
        async with senders[0], senders[1]:
            await write(number)
            await until(lambda: len(receiver.events) == len(expected))
    assert [user for _, _, user in receiver.events] == expected
