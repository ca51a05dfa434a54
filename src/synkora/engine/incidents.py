"""What happens that should not: counted, so that thousands of them are one line of a log."""

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

MOST_LABELS: Final = 100  # of one kind, that are told apart
MOST_ADDRESSES: Final = 100  # of all kinds together, that are told apart
_LABEL_SIZE: Final = 200  # characters


class IncidentKind(StrEnum):
    """What should not happen. The values are labels of metrics, which alerts rely on: words for people may differ."""

    ORIGIN_REFUSED = "origin refused"
    SIGN_IN_REFUSED = "sign-in refused"
    BLOCKED_CLIENT_REFUSED = "blocked client refused"
    CONSOLE_SIGN_IN_REFUSED = "console sign-in refused"
    ACCESS_CHECK_FAILED = "access check failed"
    LIMIT_HIT = "limit hit"
    FILE_LIMIT_HIT = "file limit hit"
    FLOODING_CLIENT_CUT_OFF = "flooding client cut off"
    REQUEST_REFUSED = "request refused"
    SLOW_REQUEST_CUT_OFF = "slow request cut off"
    SLOW_CLIENT_CUT_OFF = "slow client cut off"
    PROTOCOL_ERROR = "protocol error"


class Limit(StrEnum):
    """The limits that clients can hit. The values are labels of metrics, as those of `IncidentKind` are."""

    VOLATILE_EVENTS = "volatile events"
    EDIT_EVENTS = "edit events"
    OTHER_EVENTS = "other events"
    BYTES = "bytes"
    USER_WORK = "work for a user"
    USER_CONNECTIONS = "connections of a user"
    ADDRESS_CONNECTIONS = "Too many connections from this address"
    ADDRESS_HANDSHAKES = "Too many new connections from this address"
    CLIENTS = "Server is full"


class Tally(NamedTuple):
    """How often something of one kind has happened: the label seen most, and how many others were seen.

    `addresses` says how often each client's address has caused it, where it was an address that did.
    """

    kind: IncidentKind
    times: int
    label: str
    other_labels: int
    addresses: Mapping[str, int] = MappingProxyType({})


def _tell_nobody(kind: IncidentKind, label: str, address: str) -> None:
    """Let the first of a kind pass in silence."""


class Incidents:
    """Counts incidents by kind (`origin refused`), and within a kind by label (`https://evil.example`).

    Labels are bounded in number and size whatever clients send; those past the bound are counted as one. So are the
    addresses of clients. `on_first` is called with the first of each kind since `take`, and the first of each kind from
    each address. A label must never be, or hold, a token. `totals` has all that ever were by kind, and `limits` those
    of limits by which it was.
    """

    def __init__(self) -> None:
        self.on_first: Callable[[IncidentKind, str, str], None] = _tell_nobody
        self.totals: Counter[IncidentKind] = Counter()
        self.limits: Counter[Limit] = Counter()
        self._labels: dict[IncidentKind, Counter[str]] = {}
        self._addresses: Counter[tuple[IncidentKind, str]] = Counter()  # by kind and address

    def __len__(self) -> int:
        """How many have been counted."""
        return sum(labels.total() for labels in self._labels.values())

    def note(self, kind: IncidentKind, label: str = "", address: str = "") -> None:
        """Count one; `address` is that of the client that caused it, if one client did."""
        labels = self._labels.get(kind)
        label = label[:_LABEL_SIZE]
        is_first = labels is None
        if labels is not None:
            labels[label if label in labels or len(labels) < MOST_LABELS else ""] += 1
        else:
            self._labels[kind] = Counter((label,))
        self.totals[kind] += 1
        if self._is_new(kind, address) or is_first:
            self.on_first(kind, label, address)

    def _is_new(self, kind: IncidentKind, address: str) -> bool:
        """Count the address; return whether it is the first time that this kind came from it."""
        key = (kind, address)
        if not address or (key not in self._addresses and len(self._addresses) >= MOST_ADDRESSES):
            return False
        self._addresses[key] += 1
        return self._addresses[key] == 1

    def note_limit(self, limit: Limit, address: str = "") -> None:
        """Count that a limit was hit."""
        self.note(IncidentKind.LIMIT_HIT, limit, address)
        self.limits[limit] += 1

    def take(self) -> list[Tally]:
        """What has been counted, the most frequent first; the counts begin anew."""
        counted, self._labels = self._labels, {}
        by_kind: dict[IncidentKind, dict[str, int]] = {kind: {} for kind in counted}
        for (kind, address), times in self._addresses.items():
            by_kind[kind][address] = times
        self._addresses.clear()
        tallies = [_tally(kind, labels, by_kind[kind]) for kind, labels in counted.items()]
        return sorted(tallies, key=lambda tally: -tally.times)


def _tally(kind: IncidentKind, labels: Counter[str], addresses: dict[str, int]) -> Tally:
    named = Counter({label: count for label, count in labels.items() if label})
    label = named.most_common(1)[0][0] if named else ""
    return Tally(kind, labels.total(), label, max(len(named) - 1, 0), addresses)
