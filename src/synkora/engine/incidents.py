"""What happens that should not: counted, so that thousands of them are one line of a log."""

from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

MOST_KINDS: Final = 32
MOST_LABELS: Final = 100  # of one kind, that are told apart
_LABEL_SIZE: Final = 200  # characters


class Tally(NamedTuple):
    """How often something of one kind has happened: the label seen most, and how many others were seen."""

    kind: str
    times: int
    label: str
    other_labels: int


def _tell_nobody(kind: str, label: str) -> None:
    """Let the first of a kind pass in silence."""


class Incidents:
    """Counts incidents by kind (`origin refused`), and within a kind by label (`https://evil.example`).

    Both are bounded in number and size whatever clients send; labels past the bound are counted as one. `on_first` is
    called with the first of each kind since `take`. A label must never be, or hold, a token. `totals` has all that ever
    were by kind, and `limits` those of limits by which it was.
    """

    def __init__(self) -> None:
        self.on_first: Callable[[str, str], None] = _tell_nobody
        self.totals: Counter[str] = Counter()
        self.limits: Counter[str] = Counter()
        self._labels: dict[str, Counter[str]] = {}

    def __len__(self) -> int:
        """How many have been counted."""
        return sum(labels.total() for labels in self._labels.values())

    def note(self, kind: str, label: str = "") -> None:
        """Count one."""
        labels = self._labels.get(kind)
        label = label[:_LABEL_SIZE]
        if labels is not None:
            labels[label if label in labels or len(labels) < MOST_LABELS else ""] += 1
        elif len(self._labels) < MOST_KINDS:
            self._labels[kind] = Counter((label,))
            self.on_first(kind, label)
        else:
            return
        self.totals[kind] += 1

    def note_limit(self, limit: str) -> None:
        """Count that a limit was hit; `limit` says which, in words of the server's own."""
        self.note("limit hit", limit)
        self.limits[limit] += 1

    def take(self) -> list[Tally]:
        """What has been counted, the most frequent first; the counts begin anew."""
        counted, self._labels = self._labels, {}
        tallies = [_tally(kind, labels) for kind, labels in counted.items()]
        return sorted(tallies, key=lambda tally: -tally.times)


def _tally(kind: str, labels: Counter[str]) -> Tally:
    named = Counter({label: count for label, count in labels.items() if label})
    label = named.most_common(1)[0][0] if named else ""
    return Tally(kind, labels.total(), label, max(len(named) - 1, 0))
