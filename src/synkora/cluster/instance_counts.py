"""Counts of this instance and of all others: pure state."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping


class InstanceCounts:
    """Counts per name on this instance, with the counts of each other instance.

    `changed` is called at the first change since `take`, which returns all changes.
    """

    __slots__ = ("_changed", "_elsewhere", "_here", "_news")

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._here: Counter[str] = Counter()
        self._news: set[str] = set()
        self._elsewhere: dict[str, dict[str, int]] = {}

    def __len__(self) -> int:
        return len(self._here)

    def add(self, name: str) -> None:
        """Count one more on this instance."""
        self._here[name] += 1
        self._note(name)

    def remove(self, name: str) -> None:
        """Count one less on this instance; remove a name with the count zero."""
        self._here[name] -= 1
        if not self._here[name]:
            del self._here[name]
        self._note(name)

    def total(self, name: str) -> int:
        """Return the count on all instances."""
        return self._here[name] + sum(counts.get(name, 0) for counts in self._elsewhere.values())

    @property
    def others(self) -> Collection[str]:
        """The other instances with known counts."""
        return self._elsewhere.keys()

    @property
    def here(self) -> dict[str, int]:
        """The counts of this instance."""
        return dict(self._here)

    def take(self) -> dict[str, int]:
        """Return the changed counts of this instance since the last call."""
        news, self._news = self._news, set()
        return {name: self._here[name] for name in news}

    def set(self, instance: str, counts: Mapping[str, int]) -> None:
        """Set counts of another instance."""
        known = self._elsewhere.setdefault(instance, {})
        for name, count in counts.items():
            if count > 0:
                known[name] = count
            else:
                known.pop(name, None)

    def drop(self, instance: str) -> None:
        """Drop all counts of another instance."""
        self._elsewhere.pop(instance, None)

    def _note(self, name: str) -> None:
        if not self._news:
            self._changed()
        self._news.add(name)
