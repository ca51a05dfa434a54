"""Memory that a storm leaves goes back to the system when the server is quiet again."""

import gc
import platform
import weakref
from collections.abc import Iterator

import pytest
from tests.support.loops import pytest_asyncio_loop_factories
from tests.support.servers import serving, until

from synkora import SocketServer
from synkora.app.console.sampling import resident_memory

__all__ = ["pytest_asyncio_loop_factories"]

SIZE = 64_000_000  # bytes
PIECE = 2_000  # bytes: so small that the allocator keeps freed ones


class Knot:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self
        self.data = b"x" * PIECE


@pytest.fixture
def without_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The automatic collector, which runs when objects are made, does not run; the server looks often."""
    monkeypatch.setattr("synkora.app.memory._EVERY", 0.02)
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
class TestQuietServer:
    async def test_cycles_of_a_storm_are_collected(self) -> None:
        """Garbage that only the cyclic collector frees does not wait until new objects are made."""
        async with serving(SocketServer()):
            knots = [Knot() for _ in range(SIZE // PIECE)]
            last = weakref.ref(knots[-1])
            del knots
            await until(lambda: last() is None)

    async def test_many_connections_are_not_stopped_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A collection that would take long is left to the automatic collector."""
        monkeypatch.setattr("synkora.app.memory._MOST_CONNECTIONS", -1)
        trimmed: list[int] = []
        monkeypatch.setattr("synkora.app.memory.malloc_trim", lambda: lambda: trimmed.append(1))
        async with serving(SocketServer()):
            knots = [Knot() for _ in range(SIZE // PIECE)]
            last = weakref.ref(knots[-1])
            del knots
            await until(lambda: trimmed)
            assert last() is not None

    @pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators return pages by themselves")
    async def test_free_pages_go_back_to_the_system(self) -> None:
        """A few objects that are left between free pages do not hold all of the memory."""
        async with serving(SocketServer()):
            before = resident_memory()
            pieces = [bytes([number % 256]) * PIECE for number in range(SIZE // PIECE)]
            left = pieces[::500]
            del pieces
            await until(lambda: resident_memory() < before + SIZE // 4)
            assert left
