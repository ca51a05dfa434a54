"""Counts of this instance and of all others: pure state."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping


class InstanceCounts:
    """Counts what each name has here, and remembers what it has on each other instance.

    `changed` is called whenever the first of some names has changed here: `take` returns all of them.
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
        """One more, here."""
        self._here[name] += 1
        self._note(name)

    def remove(self, name: str) -> None:
        """One less, here; a name that has none is forgotten."""
        self._here[name] -= 1
        if not self._here[name]:
            del self._here[name]
        self._note(name)

    def total(self, name: str) -> int:
        """How many there are, here and elsewhere."""
        return self._here[name] + sum(counts.get(name, 0) for counts in self._elsewhere.values())

    @property
    def others(self) -> Collection[str]:
        """The other instances that have told of theirs."""
        return self._elsewhere.keys()

    @property
    def here(self) -> dict[str, int]:
        """What each name has here."""
        return dict(self._here)

    def take(self) -> dict[str, int]:
        """What each name has here that has changed since the last time."""
        news, self._news = self._news, set()
        return {name: self._here[name] for name in news}

    def set(self, instance: str, counts: Mapping[str, int]) -> None:
        """Names have so many on another instance, from now on."""
        known = self._elsewhere.setdefault(instance, {})
        for name, count in counts.items():
            if count > 0:
                known[name] = count
            else:
                known.pop(name, None)

    def drop(self, instance: str) -> None:
        """There is nothing on another instance any more."""
        self._elsewhere.pop(instance, None)

    def _note(self, name: str) -> None:
        if not self._news:
            self._changed()
        self._news.add(name)
