"""The number of clients of all workers, in memory that the workers share: they have one limit on clients."""

import mmap
from pathlib import Path
from typing import Final

_SIZE: Final = 8  # bytes of a count: a store of that size is atomic
_FILE: Final = "clients"


class ClientCounts:
    """One count for each slot, in a file of the workers' folder. `create` makes it with all counts at zero."""

    def __init__(self, folder: Path) -> None:
        with (folder / _FILE).open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self.slots = memoryview(self._memory).cast("q")

    @classmethod
    def create(cls, folder: Path, slots: int) -> "ClientCounts":
        """Make the file."""
        (folder / _FILE).write_bytes(bytes(_SIZE * slots))
        return cls(folder)


class SharedClientCount:
    """Counts clients in this worker's slot, and reads those of all slots: `Counts` of one name."""

    def __init__(self, counts: ClientCounts, slot: int) -> None:
        self._slots = counts.slots
        self._slot = slot

    def __len__(self) -> int:
        return int(self._slots[self._slot] > 0)

    def add(self, _: str) -> None:
        """Count a client of this worker."""
        self._slots[self._slot] += 1

    def remove(self, _: str) -> None:
        """Count the end of a client of this worker."""
        self._slots[self._slot] -= 1

    def total(self, _: str) -> int:
        """Return the number of clients of all workers."""
        return sum(self._slots)
