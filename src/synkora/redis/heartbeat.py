"""The heartbeat of the link: messages through Redis to oneself."""

import asyncio
import time
from collections.abc import Callable


class LinkHeartbeat:
    """Sends a beat every `interval` seconds, and calls `fell_silent` after `missed` consecutive beats without an echo.

    Beats are counted instead of time, so that a process that was paused does not consider Redis silent.
    """

    def __init__(
        self, interval: float, missed: int, send: Callable[[bytes], None], fell_silent: Callable[[], None]
    ) -> None:
        self.round_trip = 0.0
        self._interval = interval
        self._missed = missed
        self._send = send
        self._fell_silent = fell_silent
        self._number = 0
        self._unheard = 0
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Send the first beat now."""
        self._beat()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def heard(self, beat: bytes) -> None:
        """Handle a returned beat; `round_trip` is the newest beat's time, in seconds."""
        self._unheard = 0
        if beat == b"%d" % self._number:
            # The event loop's time does not advance within a turn.
            self.round_trip = time.monotonic() - self._sent_at

    def _beat(self) -> None:
        if self._unheard >= self._missed:
            self._fell_silent()
            return
        self._number += 1
        self._unheard += 1
        self._sent_at = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._beat)
        self._send(b"%d" % self._number)
