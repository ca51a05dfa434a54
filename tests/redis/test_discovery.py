"""Servers that tell where Redis is, and tell nonsense: the next one is asked."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from synkora.redis.discovery import Discovery
from synkora.redis.url import RedisUrl


def slots(node: bytes) -> bytes:
    """The answer that a node has all slots."""
    return b"*1\r\n*3\r\n:0\r\n:16383\r\n" + node


async def node_with(stack: AsyncExitStack, answer: bytes) -> int:
    """Start a node of a Cluster that answers about the slots. Returns its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            command = [(await reader.readline(), await reader.readline())[1].strip() for _ in range(int(line[1:]))]
            writer.write(b"%1\r\n$4\r\nmode\r\n$7\r\ncluster\r\n" if command[0] == b"HELLO" else answer)
        writer.close()

    server = await stack.enter_async_context(await asyncio.start_server(serve, "127.0.0.1", 0))
    port: int = server.sockets[0].getsockname()[1]
    return port


@pytest.mark.parametrize(
    "answer",
    [b"$4\r\ntext\r\n", slots(b"%1\r\n$2\r\nip\r\n:7\r\n"), slots(b"*1\r\n$1\r\na\r\n"), slots(b"*2\r\n:1\r\n:7\r\n")],
    ids=["a text", "a map as a node", "no port", "a number as a host"],
)
async def test_a_node_with_an_answer_of_another_form_is_passed_over(answer: bytes) -> None:
    async with AsyncExitStack() as stack:
        wrong = await node_with(stack, answer)
        right = await node_with(stack, slots(b"*2\r\n$1\r\na\r\n:7\r\n"))
        discovery = Discovery(RedisUrl.parse(f"redis+cluster://127.0.0.1:{wrong},127.0.0.1:{right}"), "synkora")
        found = await discovery.find()
    assert (found.host, found.port) == ("a", 7)


@pytest.mark.parametrize(("host", "port"), [("x" * 64, 7), ("127.0.0.1", 2**40)], ids=["a long name", "a large port"])
async def test_a_node_with_an_address_that_cannot_be_one_is_passed_over(host: str, port: int) -> None:
    """Nodes tell the addresses of others. A part of a host's name has at most 63 characters."""
    async with AsyncExitStack() as stack:
        telling = await node_with(stack, slots(b"*2\r\n$%d\r\n%b\r\n:%d\r\n" % (len(host), host.encode(), port)))
        right = await node_with(stack, slots(b"*2\r\n$1\r\na\r\n:7\r\n"))
        discovery = Discovery(RedisUrl.parse(f"redis+cluster://127.0.0.1:{telling},127.0.0.1:{right}"), "synkora")
        told = await discovery.find()
        assert (told.host, told.port) == (host, port)
        discovery.move_on()  # to the node that has been told of
        found = await discovery.find()
    assert (found.host, found.port) == ("a", 7)
