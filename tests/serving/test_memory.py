"""Memory that a storm leaves goes back to the system when the server is quiet again.

Each test runs in its own process, as a server does: where earlier tests have left free pages, a storm of this size
does not make the memory grow, and a quiet server has nothing to do.
"""

import asyncio
import gc
import multiprocessing
import platform
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor

import pytest
from tests.support.servers import serving, until

from synkora import SocketServer
from synkora.serving import memory
from synkora.serving.memory import resident_memory

SIZE = 64_000_000  # bytes
PIECE = 2_000  # bytes: so small that the allocator keeps freed ones


class Knot:
    def __init__(self) -> None:
        self.itself = self
        self.data = b"x" * PIECE


def in_own_process(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test in a new process. Raises what the test raises."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        processes.submit(_run, test).result()


def _run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test without the automatic collector, which runs when objects are made. The server checks often."""
    memory._EVERY = 0.02  # type: ignore[misc]  # final for all but this process
    gc.disable()

    async def run() -> None:
        await test()

    asyncio.run(run())


def make_garbage() -> weakref.ref[Knot]:
    """Leave garbage that only the cyclic collector frees. Returns a weak reference into the garbage."""
    knots = [Knot() for _ in range(SIZE // PIECE)]
    return weakref.ref(knots[-1])


async def collects_cycles() -> None:
    async with serving(SocketServer()):
        last = make_garbage()
        await until(lambda: last() is None)


async def spares_many_connections() -> None:
    trimmed: list[int] = []
    memory._MOST_CONNECTIONS = -1  # type: ignore[misc]  # as above
    memory.malloc_trim = lambda: lambda: trimmed.append(1)
    async with serving(SocketServer()):
        last = make_garbage()
        await until(lambda: trimmed)
        assert last() is not None


async def returns_free_pages() -> None:
    async with serving(SocketServer()):
        before = resident_memory()
        pieces = [bytes([number % 256]) * PIECE for number in range(SIZE // PIECE)]
        left = pieces[::500]
        del pieces
        await until(lambda: resident_memory() < before + SIZE // 4)
        assert left


async def looks_again_when_connections_end() -> None:
    memory._SHARE = 1e-5  # type: ignore[misc]  # final for all but this process
    connections = 10_000
    upkeep = memory.Upkeep(lambda: connections)
    upkeep.start()
    before = resident_memory()
    held = [Knot() for _ in range(SIZE // PIECE)]
    await until(lambda: upkeep._least > before + SIZE // 2)  # it has looked, and found all in use
    last = weakref.ref(held[-1])
    held.clear()
    connections = 0
    await until(lambda: last() is None)
    await until(lambda: resident_memory() < before + SIZE // 4)
    upkeep.stop()


def test_cycles_of_a_storm_are_collected() -> None:
    """Without waiting until new objects are made."""
    in_own_process(collects_cycles)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators return pages by themselves")
def test_memory_of_connections_is_released_when_they_end() -> None:
    """Also if a collection found it in use before, and took long because of the connections."""
    in_own_process(looks_again_when_connections_end)


def test_many_connections_are_not_stopped_for_it() -> None:
    """A slow collection is left to the automatic collector."""
    in_own_process(spares_many_connections)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators return pages by themselves")
def test_free_pages_go_back_to_the_system() -> None:
    """A few remaining objects between free pages do not keep all of the memory."""
    in_own_process(returns_free_pages)
