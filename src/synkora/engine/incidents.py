"""Counts of incidents: thousands of them become one line of the log."""

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

MAX_KINDS: Final = 32
MAX_LABELS: Final = 100  # distinct labels per kind
MAX_ADDRESSES: Final = 100  # distinct addresses, over all kinds
_LABEL_SIZE: Final = 200  # characters


class Tally(NamedTuple):
    """The incidents of one kind: their number, the most frequent label, and the number of other labels.

    `addresses` has the number of incidents per client address, for incidents that a client caused.
    """

    kind: str
    times: int
    label: str
    other_labels: int
    addresses: Mapping[str, int] = MappingProxyType({})


def _ignore_first(kind: str, label: str, address: str) -> None:
    """The default of `Incidents.on_first`."""


class Incidents:
    """Counts incidents by kind (`origin refused`), and within a kind by label (`https://evil.example`).

    The number and size of labels and addresses are bounded, whatever clients send; further labels are counted together.
    `on_first` is called for the first incident of a kind since `take`, and for the first of a kind from an address. A
    label must not contain a token. `totals` counts all incidents by kind since the start, and `limits` the hits of each
    limit.
    """

    def __init__(self) -> None:
        self.on_first: Callable[[str, str, str], None] = _ignore_first
        self.totals: Counter[str] = Counter()
        self.limits: Counter[str] = Counter()
        self._labels: dict[str, Counter[str]] = {}
        self._addresses: Counter[tuple[str, str]] = Counter()  # by kind and address

    def __len__(self) -> int:
        """Number of incidents since `take`."""
        return sum(labels.total() for labels in self._labels.values())

    def note(self, kind: str, label: str = "", address: str = "") -> None:
        """Count an incident; `address` is the client's address if a single client caused it."""
        labels = self._labels.get(kind)
        label = label[:_LABEL_SIZE]
        is_first = labels is None
        if labels is not None:
            labels[label if label in labels or len(labels) < MAX_LABELS else ""] += 1
        elif len(self._labels) < MAX_KINDS:
            self._labels[kind] = Counter((label,))
        else:
            return
        self.totals[kind] += 1
        if self._is_new(kind, address) or is_first:
            self.on_first(kind, label, address)

    def _is_new(self, kind: str, address: str) -> bool:
        """Count the address; return whether this is its first incident of this kind."""
        key = (kind, address)
        if not address or (key not in self._addresses and len(self._addresses) >= MAX_ADDRESSES):
            return False
        self._addresses[key] += 1
        return self._addresses[key] == 1

    def note_limit(self, limit: str, address: str = "") -> None:
        """Count the hit of a limit; `limit` is the name of the limit, not text from a client."""
        self.note("limit hit", limit, address)
        self.limits[limit] += 1

    def take(self) -> list[Tally]:
        """Return the counts since the last call, the most frequent kind first, and reset them."""
        counted, self._labels = self._labels, {}
        by_kind: dict[str, dict[str, int]] = {kind: {} for kind in counted}
        for (kind, address), times in self._addresses.items():
            by_kind[kind][address] = times
        self._addresses.clear()
        tallies = [_tally(kind, labels, by_kind[kind]) for kind, labels in counted.items()]
        return sorted(tallies, key=lambda tally: -tally.times)


def _tally(kind: str, labels: Counter[str], addresses: dict[str, int]) -> Tally:
    named = Counter({label: count for label, count in labels.items() if label})
    label = named.most_common(1)[0][0] if named else ""
    return Tally(kind, labels.total(), label, max(len(named) - 1, 0), addresses)
