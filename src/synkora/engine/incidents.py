"""What happens that should not: counted, so that thousands of them are one line of a log."""

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

MOST_KINDS: Final = 32
MOST_LABELS: Final = 100  # of one kind, that are told apart
MOST_ADDRESSES: Final = 100  # of all kinds together, that are told apart
_LABEL_SIZE: Final = 200  # characters


class Tally(NamedTuple):
    """How often something of one kind has happened: the label seen most, and how many others were seen.

    `addresses` says how often each client's address has caused it, where it was an address that did.
    """

    kind: str
    times: int
    label: str
    other_labels: int
    addresses: Mapping[str, int] = MappingProxyType({})


def _tell_nobody(kind: str, label: str, address: str) -> None:
    """Let the first of a kind pass in silence."""


class Incidents:
    """Counts incidents by kind (`origin refused`), and within a kind by label (`https://evil.example`).

    Both are bounded in number and size whatever clients send; labels past the bound are counted as one. So are the
    addresses of clients. `on_first` is called with the first of each kind since `take`, and the first of each kind from
    each address. A label must never be, or hold, a token. `totals` has all that ever were by kind, and `limits` those
    of limits by which it was.
    """

    def __init__(self) -> None:
        self.on_first: Callable[[str, str, str], None] = _tell_nobody
        self.totals: Counter[str] = Counter()
        self.limits: Counter[str] = Counter()
        self._labels: dict[str, Counter[str]] = {}
        self._addresses: Counter[tuple[str, str]] = Counter()  # by kind and address

    def __len__(self) -> int:
        """How many have been counted."""
        return sum(labels.total() for labels in self._labels.values())

    def note(self, kind: str, label: str = "", address: str = "") -> None:
        """Count one; `address` is that of the client that caused it, if one client did."""
        labels = self._labels.get(kind)
        label = label[:_LABEL_SIZE]
        is_first = labels is None
        if labels is not None:
            labels[label if label in labels or len(labels) < MOST_LABELS else ""] += 1
        elif len(self._labels) < MOST_KINDS:
            self._labels[kind] = Counter((label,))
        else:
            return
        self.totals[kind] += 1
        if self._is_new(kind, address) or is_first:
            self.on_first(kind, label, address)

    def _is_new(self, kind: str, address: str) -> bool:
        """Count the address; return whether it is the first time that this kind came from it."""
        key = (kind, address)
        if not address or (key not in self._addresses and len(self._addresses) >= MOST_ADDRESSES):
            return False
        self._addresses[key] += 1
        return self._addresses[key] == 1

    def note_limit(self, limit: str, address: str = "") -> None:
        """Count that a limit was hit; `limit` says which, in words of the server's own."""
        self.note("limit hit", limit, address)
        self.limits[limit] += 1

    def take(self) -> list[Tally]:
        """What has been counted, the most frequent first; the counts begin anew."""
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
