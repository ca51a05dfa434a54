"""Runs an emitter's coroutines in a thread of their own, for programs without an event loop."""

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, Final, TypeVar

from synkora.emitter.ports import EmitFailed, Way

T = TypeVar("T")

_STOP_WITHIN: Final = 5.0  # seconds


class _Running:
    """A thread with an event loop, and the way that belongs to it."""

    def __init__(self, make: Callable[[], Way]) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.way = make()
        self.thread = threading.Thread(target=self.loop.run_forever, name="synkora-emitter", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Close the way, and end the thread."""
        if self.pid != os.getpid() or self.loop.is_closed():
            return  # the thread belongs to the parent process
        if threading.current_thread() is self.thread:
            self.loop.stop()
            return
        try:
            asyncio.run_coroutine_threadsafe(self._finish(), self.loop).result(_STOP_WITHIN)
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(_STOP_WITHIN)
            if not self.thread.is_alive():
                self.loop.close()

    async def _finish(self) -> None:
        await self.way.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


class Background:
    """Starts a thread at the first use in each process. A forked child has no threads of its parent."""

    def __init__(self, make: Callable[[], Way]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._stop: Callable[[], object] | None = None
        _all.add(self)

    def run(self, act: Callable[[Way], Coroutine[Any, Any, T]]) -> T:
        """Return the result of a coroutine, which the thread runs. The coroutine ends by itself within some seconds.

        Raises `EmitFailed` if another thread closes this.
        """
        with self._lock:
            if self._running is None:
                self._running = _Running(self._make)
                self._stop = weakref.finalize(self, self._running.stop)  # at the latest when the interpreter ends
            acting = asyncio.run_coroutine_threadsafe(act(self._running.way), self._running.loop)
        try:
            return acting.result()
        except CancelledError:
            raise EmitFailed("the emitter was closed meanwhile") from None

    def close(self) -> None:
        """Disconnect, and end the thread. The next use starts another one."""
        with self._lock:
            stop, self._stop, self._running = self._stop, None, None
        if stop is not None:
            stop()

    def forget(self) -> None:
        """Drop the state in a forked child, without closing what the parent still uses."""
        if self._running is not None:
            _of_parents.append(self._running)
        self._lock, self._running, self._stop = threading.Lock(), None, None


_all: Final[weakref.WeakSet[Background]] = weakref.WeakSet()
_of_parents: Final[list[_Running]] = []


def _forget_all() -> None:
    for background in [*_all]:
        background.forget()


os.register_at_fork(after_in_child=_forget_all)
