"""A connection by itself: messages of Redis without a command."""

import asyncio

import pytest

from synkora.redis.connection import LARGEST_REPLY, Pending, RedisConnection
from synkora.redis.errors import LinkDown


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (b"-ERR max number of clients reached\r\n", "Redis has its maximum of clients (maxclients)"),
        (b"-DENIED Redis is running in protected mode\r\n", "Redis is in protected mode"),
        (b"+hello\r\n", "is not Redis"),
        (b"220 mail.example.com ESMTP\r\n", "is not Redis"),
    ],
)
async def test_an_answer_before_any_question_ends_it(said: bytes, problem: str) -> None:
    """A Redis that refuses the connection sends its reason. Anything else that sends first is no Redis."""
    ends: list[str] = []
    connection = RedisConnection(ends.append, max_waiting=1000)
    connection.data_received(said)
    connection.data_received(said)
    assert len(ends) == 1
    assert problem in ends[0]
    assert connection.over.is_set()


async def test_unexpected_pushes_are_ignored() -> None:
    """Redis may send other kinds than messages."""
    ends: list[str] = []
    connection = RedisConnection(ends.append, max_waiting=1000)
    heard: list[bytes] = []
    connection.receivers = {b"a": heard.append}
    connection.data_received(
        b">2\r\n+invalidate\r\n*1\r\n+key\r\n>3\r\n+message\r\n+b\r\n+x\r\n>3\r\n+message\r\n+a\r\n+y\r\n"
    )
    assert (heard, ends) == ([b"y"], [])


async def test_a_message_may_arrive_in_parts() -> None:
    ends: list[str] = []
    connection = RedisConnection(ends.append, max_waiting=1000)
    heard: list[bytes] = []
    connection.receivers = {b"a": heard.append}
    for byte in b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$4\r\n\x00\r\n\xff\r\n":
        assert not heard
        connection.data_received(bytes([byte]))
    assert (heard, ends) == ([b"\x00\r\n\xff"], [])


@pytest.mark.parametrize(
    "said",
    [b">0\r\n", b">1\r\n+message\r\n", b">3\r\n+message\r\n*0\r\n+x\r\n", b">3\r\n%1\r\n*0\r\n+a\r\n+b\r\n+c\r\n"],
)
async def test_a_push_of_another_form_ends_it(said: bytes) -> None:
    """The event loop would log the error as one of its own."""
    ends: list[str] = []
    connection = RedisConnection(ends.append, max_waiting=1000)
    connection.data_received(said)
    assert ends == ["what answers at the address of Redis is not Redis"]


async def test_a_piece_without_an_end_ends_it() -> None:
    """It would fill the memory. Complete messages may be any number of bytes together."""
    ends: list[str] = []
    connection = RedisConnection(ends.append, max_waiting=1000)
    part = b"x" * (LARGEST_REPLY // 4)
    for _ in range(5):
        connection.data_received(b">3\r\n+message\r\n+a\r\n$%d\r\n" % len(part) + part + b"\r\n")
    assert not ends
    connection.data_received(b"$536870911\r\n")
    for _ in range(4):
        connection.data_received(part)
    assert ends == [f"Redis has sent more than {LARGEST_REPLY} bytes in one piece"]


class Full(asyncio.Transport):
    """A transport whose peer does not read."""

    def get_write_buffer_size(self) -> int:
        return 1001

    def abort(self) -> None:
        pass


async def test_a_command_behind_one_that_has_ended_it_fails() -> None:
    """A change of subscriptions comes right before a command. Nothing would ever answer it."""
    ends: list[str] = []
    connection = RedisConnection(ends.append, max_waiting=1000)
    connection.connection_made(Full())
    connection.arm()
    pending = Pending(None)
    connection.change("SUBSCRIBE", [b"x" * 300_000])
    connection.request(("PING",), pending)
    assert len(ends) == 1
    with pytest.raises(LinkDown, match="Redis does not read"):
        await pending.future
