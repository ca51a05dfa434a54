"""The heartbeat by itself."""

import asyncio
import time

from tests.support.servers import until

from synkora.redis.heartbeat import LinkHeartbeat


class Echo:
    """Returns beats while it `is_there`."""

    def __init__(self) -> None:
        self.is_there = True
        self.sent: list[bytes] = []
        self.silences = 0
        self.heartbeat = LinkHeartbeat(0.01, 3, self.send, self.fell_silent)

    def send(self, beat: bytes) -> None:
        self.sent.append(beat)
        if self.is_there:
            asyncio.get_running_loop().call_soon(self.heartbeat.heard, beat)

    def fell_silent(self) -> None:
        self.silences += 1


async def test_it_continues_while_beats_return() -> None:
    """Each beat is different, so that its round trip can be measured."""
    echo = Echo()
    echo.heartbeat.start()
    await until(lambda: len(echo.sent) >= 6)
    echo.heartbeat.stop()
    assert echo.silences == 0
    assert len(set(echo.sent)) == len(echo.sent)
    assert echo.heartbeat.round_trip > 0


async def test_consecutive_missed_beats_are_silence() -> None:
    """Silence is reported once, and no further beats are sent."""
    echo = Echo()
    echo.is_there = False
    echo.heartbeat.start()
    await until(lambda: echo.silences)
    await asyncio.sleep(0.05)
    assert (len(echo.sent), echo.silences) == (3, 1)


async def test_a_beat_that_comes_late_is_a_sign_of_life() -> None:
    """It resets the count of missed beats, but its round trip is not used."""
    echo = Echo()
    echo.is_there = False
    echo.heartbeat.start()
    await until(lambda: len(echo.sent) == 3)
    echo.heartbeat.heard(b"1")
    assert echo.heartbeat.round_trip == 0
    await until(lambda: len(echo.sent) >= 4)
    assert echo.silences == 0
    echo.heartbeat.stop()


async def test_a_pause_of_this_process_is_not_silence() -> None:
    echo = Echo()
    echo.heartbeat.start()
    await until(lambda: len(echo.sent) >= 2)
    time.sleep(0.2)  # noqa: ASYNC251  # the whole process is to stand still
    await until(lambda: len(echo.sent) >= 5)
    echo.heartbeat.stop()
    assert echo.silences == 0
