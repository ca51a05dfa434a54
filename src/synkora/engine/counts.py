"""How many connections an address or a user has: the port to where that is counted."""

from collections import Counter
from typing import Protocol


class Counts(Protocol):
    """Counts what each name has here, and knows what it has in all."""

    def __len__(self) -> int:
        """How many names have any here."""
        ...

    def add(self, name: str) -> None:
        """One more, here."""
        ...

    def remove(self, name: str) -> None:
        """One less, here."""
        ...

    def total(self, name: str) -> int:
        """How many there are, here and elsewhere."""
        ...


class LocalCounts:
    """Counts on a server that is alone."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, name: str) -> None:
        """One more."""
        self._counts[name] += 1

    def remove(self, name: str) -> None:
        """One less; a name that has none is forgotten."""
        self._counts[name] -= 1
        if not self._counts[name]:
            del self._counts[name]

    def total(self, name: str) -> int:
        """How many there are."""
        return self._counts[name]
