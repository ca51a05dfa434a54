"""Floods of hostile clients."""

from tests.hostile.attacker import Attacker

FLOOD = 1000  # events: more than may come at once, and than who keeps on may be refused


async def flood(a: Attacker, count: int, *writes: bytes) -> None:
    """Write without a pause as a member. A client that continues is disconnected."""
    async with a.member() as socket:
        a.count(count)
        try:
            for data in writes:
                await socket.send(data)
        except ConnectionError:
            return
        await a.expect_end(socket)
