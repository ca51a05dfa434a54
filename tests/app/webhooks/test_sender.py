from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from structlog.testing import capture_logs
from tests.support.processes import free_port
from tests.support.servers import until
from tests.support.webhook_receiver import SECRET, WebhookReceiver, receiving

from synkora.app.webhooks.queue import MemoryQueue, QueueUnavailable, WebhookEvent
from synkora.app.webhooks.receiver import Receiver
from synkora.app.webhooks.sender import RetryPolicy, WebhookSender
from synkora.collaboration.transitions import Transition, TransitionData

QUICK = RetryPolicy(first_pause=0.005, longest_pause=0.01)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def receiver(port: int) -> AsyncIterator[WebhookReceiver]:
    async with receiving(port) as receiver:
        yield receiver


def sender_to(port: int, queue: MemoryQueue, retries: RetryPolicy = QUICK, *, timeout: float = 5) -> WebhookSender:
    url = f"http://user:hunter2@127.0.0.1:{port}/hook"
    return WebhookSender(queue, Receiver(url, [SECRET], timeout=timeout), retries=retries, poll=0.005)


def add(queue: MemoryQueue, *users: str) -> None:
    for user in users:
        queue.add(Transition.ENTERED, TransitionData("p", user))


async def send_two(port: int, queue: MemoryQueue, has_begun: Callable[[WebhookSender], bool]) -> WebhookSender:
    """Send `a`, and `b` as soon as the sender has begun."""
    add(queue, "a")
    async with sender_to(port, queue) as sender:
        await until(lambda: has_begun(sender))
        add(queue, "b")
        await until(lambda: sender.sent == 2)
    return sender


def users(receiver: WebhookReceiver) -> list[str | None]:
    return [user for _, _, user in receiver.events]


async def test_what_waits_is_one_message(receiver: WebhookReceiver, port: int) -> None:
    queue = MemoryQueue()
    add(queue, "a", "b")
    async with sender_to(port, queue) as sender:
        await until(lambda: sender.sent == 2)
        assert (queue.waiting, sender.failed, sender.dropped) == (0, 0, 0)
    (received,) = receiver.taken
    assert users(receiver) == ["a", "b"]
    assert received.headers["content-type"] == "application/json"


async def test_a_message_that_was_refused_is_sent_again_with_the_same_id(receiver: WebhookReceiver, port: int) -> None:
    """Also if further events have come meanwhile: these follow in the next message."""
    receiver.statuses = [500, 503]
    sender = await send_two(port, MemoryQueue(), lambda sender: sender.failed == 1)
    assert sender.failed == 2
    assert users(receiver) == ["a", "b"]
    assert len({request.headers["webhook-id"] for request in receiver.requests[:3]}) == 1
    assert len({request.body for request in receiver.requests[:3]}) == 1


async def test_events_wait_for_a_receiver_that_is_down(port: int) -> None:
    queue = MemoryQueue()
    add(queue, "a", "b")
    with capture_logs() as logs:
        async with sender_to(port, queue) as sender:
            await until(lambda: sender.failed > 1)
            add(queue, "c")
            async with receiving(port) as receiver:
                await until(lambda: sender.sent == 3)
            assert users(receiver) == ["a", "b", "c"]
    assert [entry["event"] for entry in logs] == ["webhook_not_received", "webhook_received"]
    assert "hunter2" not in str(logs)


async def test_a_slow_answer_is_a_failure(receiver: WebhookReceiver, port: int) -> None:
    receiver.may_answer.clear()
    queue = MemoryQueue()
    add(queue, "a")
    async with sender_to(port, queue, timeout=0.05) as sender:
        await until(lambda: sender.failed > 0)
        assert sender.problem == "no answer within 0.05 s"
        receiver.may_answer.set()
        await until(lambda: sender.sent == 1)


async def test_redirects_are_not_followed(receiver: WebhookReceiver, port: int) -> None:
    receiver.statuses = [307]
    receiver.headers = {"location": receiver.url}
    queue = MemoryQueue()
    add(queue, "a")
    with capture_logs() as logs:
        async with sender_to(port, queue) as sender:
            await until(lambda: sender.sent == 1)
    assert logs[0]["problem"] == "status 307: redirects are not followed"


async def test_the_bodies_of_answers_are_neither_logged_nor_read_without_a_bound(
    receiver: WebhookReceiver, port: int
) -> None:
    receiver.statuses = [400, 200]
    receiver.text = "hunter3 " * 1_000_000
    queue = MemoryQueue()
    add(queue, "a")
    with capture_logs() as logs:
        async with sender_to(port, queue) as sender:
            await until(lambda: sender.sent == 1)
    assert [entry.get("problem") for entry in logs] == ["status 400", None]


async def test_a_message_is_given_up_after_its_attempts(receiver: WebhookReceiver, port: int) -> None:
    """The next ones are sent."""
    receiver.statuses = [500] * 3
    queue = MemoryQueue()
    add(queue, "a")
    few = RetryPolicy(first_pause=0.005, longest_pause=0.01, most_attempts=3)
    async with sender_to(port, queue, few) as sender:
        await until(lambda: sender.given_up == 1)
        add(queue, "b")
        await until(lambda: sender.sent == 1)
    assert (sender.failed, sender.dropped) == (3, 1)
    assert users(receiver) == ["b"]


async def test_a_message_is_given_up_when_it_is_old(receiver: WebhookReceiver, port: int) -> None:
    receiver.statuses = [500]
    queue = MemoryQueue()
    add(queue, "a")
    old = RetryPolicy(first_pause=0.005, longest_pause=0.01, longest=-1)
    async with sender_to(port, queue, old) as sender:
        await until(lambda: sender.given_up == 1)
    assert receiver.events == []


class ForgetfulQueue(MemoryQueue):
    """A queue that cannot be asked for a while, after the first message was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 3

    async def remove(self, events: Sequence[WebhookEvent]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise QueueUnavailable
        await super().remove(events)


async def test_what_was_received_is_not_sent_again_if_the_queue_cannot_be_asked(
    receiver: WebhookReceiver, port: int
) -> None:
    await send_two(port, ForgetfulQueue(), lambda sender: sender.sent == 1)
    assert users(receiver) == ["a", "b"]


async def test_a_stop_sends_what_waits(receiver: WebhookReceiver, port: int) -> None:
    queue = MemoryQueue()
    async with sender_to(port, queue):
        add(queue, "a")
    assert users(receiver) == ["a"]


async def test_a_stop_does_not_wait_for_a_receiver_that_is_down(port: int) -> None:
    queue = MemoryQueue()
    add(queue, "a")
    async with sender_to(port, queue) as sender:
        pass
    assert sender.sent == 0
