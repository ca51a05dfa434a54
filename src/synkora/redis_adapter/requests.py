"""Requests of one server to the others, and their responses: sockets, rooms, acks of broadcasts."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from msgspec import UNSET

from synkora.redis.errors import LinkDown, RedisRefused
from synkora.redis.link import Link
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.wire_codec import (
    AdapterRequest,
    AdapterResponse,
    InvalidMessage,
    RequestType,
    read_response,
    write,
    write_json,
)
from synkora.sockets.answer_collector import AnswerCollector
from synkora.sockets.errors import AckTimeout

_ID_SIZE: Final = 6  # characters, as in Node.js


class Requests:
    """The pending requests of one namespace.

    With each request, Redis is asked for the number of servers. The reply to PUBLISH also counts subscribers of
    patterns, such as monitors.
    """

    def __init__(self, link: Link, channels: Channels) -> None:
        self.unreadable = 0
        self._link = link
        self._channel = channels.requests
        self._heard = (channels.responses, channels.responses_to(link.uid))
        self._counting = ("PUBSUB", "NUMSUB", channels.requests)
        self._waiting: dict[str, Callable[[AdapterResponse], None]] = {}
        for channel in self._heard:
            link.subscribe(channel, self._receive)

    def close(self) -> None:
        """Stop receiving responses."""
        for channel in self._heard:
            self._link.unsubscribe(channel)

    def tell(self, request: AdapterRequest) -> None:
        """Send a request without a response."""
        self._link.publish(self._channel, write_json(request))

    async def ask(self, request: AdapterRequest, timeout: float) -> list[AdapterResponse]:
        """Return the responses of all other servers. Raises `AckTimeout` with the received responses after `timeout`
        seconds, or immediately without Redis.
        """
        if not self._link.is_up:
            raise AckTimeout(f"the other servers cannot be reached: {self._link.problem}")
        answers = AnswerCollector()
        with self._open(request, answers.add, answers.expect):
            return await answers.wait(timeout)

    async def count(self) -> int:
        """Return the number of servers that get requests, including this one. Raises `TimeoutError` without Redis."""
        try:
            return _subscribers(await self._link.call(*self._counting))
        except (LinkDown, RedisRefused) as error:
            raise TimeoutError(f"the other servers cannot be counted: {error}") from None

    @contextmanager
    def poll(self, request: AdapterRequest, answers: AnswerCollector, asked: int) -> Iterator[None]:
        """Send a broadcast with acks, and collect the acks, in addition to those of `asked` clients of this server."""
        tally = _Tally(answers, asked)
        with self._open(request, tally.take, tally.expect):
            yield

    @contextmanager
    def _open(
        self, request: AdapterRequest, take: Callable[[AdapterResponse], None], expect: Callable[[int], None]
    ) -> Iterator[None]:
        request.request_id = number = secrets.token_urlsafe(_ID_SIZE)[:_ID_SIZE]

        def counted(reply: list[Any]) -> None:
            expect(_subscribers(reply) - 1)  # without this server

        message = write(request) if request.packet is not UNSET else write_json(request)
        self._waiting[number] = take
        self._link.call(*self._counting, answered=counted)
        self._link.publish(self._channel, message)
        try:
            yield
        finally:
            del self._waiting[number]

    def _receive(self, message: bytes) -> None:
        if not self._waiting:
            return  # Node.js servers send responses to all servers
        try:
            response = read_response(message)
        except InvalidMessage:
            self.unreadable += 1
            return
        take = self._waiting.get(response.request_id)
        if take is not None:
            take(response)


class _Tally:
    """The number of expected acks: the sum of each server's count, when all servers have responded."""

    def __init__(self, answers: AnswerCollector, asked: int) -> None:
        self._answers = answers
        self._clients = asked
        self._servers = 0
        self._expected: int | None = None

    def expect(self, servers: int) -> None:
        """Set the number of other servers."""
        self._expected = servers
        self._check()

    def take(self, response: AdapterResponse) -> None:
        """Handle a server's number of clients, or a client's ack."""
        if response.type == RequestType.BROADCAST_CLIENT_COUNT and response.client_count is not UNSET:
            self._servers += 1
            self._clients += response.client_count
            self._check()
        elif response.type == RequestType.BROADCAST_ACK:
            self._answers.add(None if response.packet is UNSET else response.packet)

    def _check(self) -> None:
        if self._servers == self._expected:
            self._answers.expect(self._clients)


def _subscribers(reply: list[Any]) -> int:
    """Return the number of subscribers in the reply: https://redis.io/docs/latest/commands/pubsub-numsub/."""
    return int(reply[1])
