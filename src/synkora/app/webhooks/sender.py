"""Sends the events of a queue to the app's backend, in order, with retries."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import SystemRandom
from time import time
from typing import Final, Self

import structlog

from synkora.app.webhooks.message import MOST_EVENTS, WebhookMessage
from synkora.app.webhooks.queue import QueueUnavailable, WebhookQueue
from synkora.app.webhooks.receiver import NotReceived, Receiver
from synkora.engine.logs import fault

_GOODBYE: Final = 2.0  # seconds for the last events

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a message that was not received is sent again, in seconds.

    The pause doubles from `first_pause` to `longest_pause`, and is shortened at random by up to a half. A message is
    given up when it has been tried `most_attempts` times, or when its last event is `longest` old.
    """

    first_pause: float = 1.0
    longest_pause: float = 60.0
    most_attempts: int = 120
    longest: float = 3600.0


class WebhookSender:
    """Sends events within an `async with` block, one message after the other, in the queue's order.

    The queue is read every `poll` seconds: what has come meanwhile is one message.
    """

    def __init__(
        self, queue: WebhookQueue, receiver: Receiver, *, retries: RetryPolicy | None = None, poll: float = 1.0
    ) -> None:
        self.queue = queue
        self.sent = 0  # events
        self.failed = 0  # attempts
        self.given_up = 0  # events
        self.problem: str | None = None
        self._receiver = receiver
        self._retries = retries or RetryPolicy()
        self._poll = poll
        self._message: WebhookMessage | None = None  # not received yet
        self._attempts = 0  # of this message
        self._pause = 0.0  # seconds
        self._due = 0.0  # by the loop's clock
        self._done: frozenset[str] = frozenset()  # the events that were received or given up last
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def dropped(self) -> int:
        """The number of events that were not sent: the queue was full, or the receiver did not take them."""
        return self.queue.dropped + self.given_up

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._send_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Send what waits, if it takes no longer than a moment."""
        self._stopping.set()
        if self._task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await self._task  # cancelled after this time
        with suppress(TimeoutError, QueueUnavailable):
            async with asyncio.timeout(_GOODBYE):
                await self.queue.release()
        await self._receiver.close()

    async def _send_on(self) -> None:
        while not self._stopping.is_set():
            if not await self._step():
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll):
                        await self._stopping.wait()
        while await self._step():
            pass

    async def _step(self) -> bool:
        """Send a message, if one is due; return whether it was received."""
        try:
            return await self._send_first()
        except QueueUnavailable:
            return False  # the link reports it
        except Exception as error:  # noqa: BLE001  # a bug: later events still matter
            log.error("webhook_failed", **fault(error))
            return False

    async def _send_first(self) -> bool:
        events = await self.queue.first(MOST_EVENTS)
        if not events:
            self._message = None
            return False
        if events[0].id in self._done:  # the queue was unavailable when these were done
            await self.queue.remove([event for event in events if event.id in self._done])
            return True
        if self._message is None or self._message.events[0].id != events[0].id:
            self._message, self._attempts = WebhookMessage.of(events), 0
        message, loop = self._message, asyncio.get_running_loop()
        if loop.time() < self._due:
            return False
        try:
            await self._receiver.post(message.id, message.body)
        except NotReceived as error:
            self._note_failure(str(error))
            if not self._is_hopeless(message):
                return False
            self.given_up += len(message.events)
            log.warning("webhook_given_up", events=len(message.events), attempts=self._attempts, problem=str(error))
            await self._finish(message)
            return False
        self.sent += len(message.events)
        self._note_success()
        await self._finish(message)
        return True

    async def _finish(self, message: WebhookMessage) -> None:
        self._message, self._done = None, frozenset(event.id for event in message.events)
        await self.queue.remove(message.events)

    def _is_hopeless(self, message: WebhookMessage) -> bool:
        age = time() - message.events[-1].at / 1000
        return self._attempts >= self._retries.most_attempts or age > self._retries.longest

    def _note_failure(self, problem: str) -> None:
        self.failed += 1
        self._attempts += 1
        self._pause = min(self._pause * 2 or self._retries.first_pause, self._retries.longest_pause)
        self._due = asyncio.get_running_loop().time() + self._pause * SystemRandom().uniform(0.5, 1)
        if problem != self.problem:
            log.warning("webhook_not_received", problem=problem)
            self.problem = problem

    def _note_success(self) -> None:
        if self.problem is not None:
            log.info("webhook_received")
        self.problem, self._pause = None, 0.0
