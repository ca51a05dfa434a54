import asyncio

import pytest

from synkora.sockets.acks import Acks
from synkora.sockets.errors import AckTimeout


async def test_an_answer_reaches_the_asker() -> None:
    acks = Acks()
    acks.open(1)
    acks.open(2)
    waiting = asyncio.gather(acks.wait(1, 5), acks.wait(2, 5))
    await asyncio.sleep(0)
    acks.resolve(2, ["two"])
    acks.resolve(1, ["one", 1])
    assert list(await waiting) == [["one", 1], ["two"]]
    assert not acks._pending


async def test_no_answer_in_time_is_a_timeout() -> None:
    """Nothing remains, and a late answer has no effect."""
    acks = Acks()
    acks.open(1)
    with pytest.raises(AckTimeout, match=r"no ack within 0\.01 s"):
        await acks.wait(1, 0.01)
    acks.resolve(1, ["late"])
    assert not acks._pending


async def test_an_unexpected_ack_is_ignored() -> None:
    acks = Acks()
    assert not acks.resolve(7, [])
    acks.open(1)
    waiting = asyncio.ensure_future(acks.wait(1, 5))
    await asyncio.sleep(0)
    assert acks.resolve(1, ["first"])
    assert not acks.resolve(1, ["second"])
    assert await waiting == ["first"]


async def test_all_waits_end_when_the_client_disconnects() -> None:
    acks = Acks()
    for number in range(3):
        acks.open(number)
    waiting = [asyncio.ensure_future(acks.wait(number, 60)) for number in range(3)]
    await asyncio.sleep(0)
    acks.cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(result) for result in results] == ["the client left"] * 3
    assert all(isinstance(result, AckTimeout) for result in results)


def test_an_ack_timeout_is_a_timeout() -> None:
    assert issubclass(AckTimeout, TimeoutError)
