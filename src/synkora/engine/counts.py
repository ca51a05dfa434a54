"""The port that counts connections per address or user, and the counter of a single server."""

from collections import Counter
from typing import Protocol


class Counts(Protocol):
    """Counts connections by name, on this server and in the cluster."""

    def __len__(self) -> int:
        """Number of names with a connection on this server."""
        ...

    def add(self, name: str) -> None:
        """Count a connection on this server."""
        ...

    def remove(self, name: str) -> None:
        """Count the end of a connection on this server."""
        ...

    def total(self, name: str) -> int:
        """Return the number of connections of a name on all servers."""
        ...


class LocalCounts:
    """Counts for a server without a cluster."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, name: str) -> None:
        self._counts[name] += 1

    def remove(self, name: str) -> None:
        self._counts[name] -= 1
        if not self._counts[name]:
            del self._counts[name]

    def total(self, name: str) -> int:
        return self._counts[name]
