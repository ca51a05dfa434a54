"""Counts of incidents: thousands of them become one line of the log."""

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

MAX_LABELS: Final = 100  # distinct labels per kind
MAX_ADDRESSES: Final = 100  # distinct addresses, over all kinds
_LABEL_SIZE: Final = 200  # characters


class IncidentKind(StrEnum):
    """The kinds of incidents. The values are metric labels: alerts depend on them, not on messages."""

    ORIGIN_REFUSED = "origin refused"
    SIGN_IN_REFUSED = "sign-in refused"
    BLOCKED_CLIENT_REFUSED = "blocked client refused"
    CONSOLE_SIGN_IN_REFUSED = "console sign-in refused"
    API_SIGN_IN_REFUSED = "API sign-in refused"
    ACCESS_CHECK_FAILED = "access check failed"
    LIMIT_HIT = "limit hit"
    FILE_LIMIT_HIT = "file limit hit"
    FLOODING_CLIENT_CUT_OFF = "flooding client cut off"
    REQUEST_REFUSED = "request refused"
    SLOW_REQUEST_CUT_OFF = "slow request cut off"
    SLOW_CLIENT_CUT_OFF = "slow client cut off"
    PROTOCOL_ERROR = "protocol error"


class Limit(StrEnum):
    """The limits that clients can hit. The values are metric labels, as in `IncidentKind`."""

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
    """The incidents of one kind: their number, the most frequent label, and the number of other labels.

    `addresses` has the number of incidents per client address, for incidents that a client caused.
    """

    kind: IncidentKind
    times: int
    label: str
    other_labels: int
    addresses: Mapping[str, int] = MappingProxyType({})


def _ignore_first(kind: IncidentKind, label: str, address: str) -> None:
    """The default of `Incidents.on_first`."""


class Incidents:
    """Counts incidents by kind (`origin refused`), and within a kind by label (`https://evil.example`).

    The number and size of labels and addresses are bounded; labels above the bound are counted together. `on_first` is
    called for the first incident of a kind since `take`, and for the first of a kind from an address. A label must not
    contain a token. `totals` counts all incidents by kind since the start, and `limits` the hits of each limit.
    """

    def __init__(self) -> None:
        self.on_first: Callable[[IncidentKind, str, str], None] = _ignore_first
        self.totals: Counter[IncidentKind] = Counter()
        self.limits: Counter[Limit] = Counter()
        self._labels: dict[IncidentKind, Counter[str]] = {}
        self._addresses: Counter[tuple[IncidentKind, str]] = Counter()  # by kind and address

    def __len__(self) -> int:
        """Number of incidents since `take`."""
        return sum(labels.total() for labels in self._labels.values())

    def note(self, kind: IncidentKind, label: str = "", address: str = "") -> None:
        """Count an incident; `address` is the client's address if a single client caused it."""
        labels = self._labels.get(kind)
        label = label[:_LABEL_SIZE]
        is_first = labels is None
        if labels is not None:
            labels[label if label in labels or len(labels) < MAX_LABELS else ""] += 1
        else:
            self._labels[kind] = Counter((label,))
        self.totals[kind] += 1
        if self._is_new(kind, address) or is_first:
            self.on_first(kind, label, address)

    def _is_new(self, kind: IncidentKind, address: str) -> bool:
        """Count the address; return whether this is its first incident of this kind."""
        key = (kind, address)
        if not address or (key not in self._addresses and len(self._addresses) >= MAX_ADDRESSES):
            return False
        self._addresses[key] += 1
        return self._addresses[key] == 1

    def note_limit(self, limit: Limit, address: str = "") -> None:
        """Count the hit of a limit."""
        self.note(IncidentKind.LIMIT_HIT, limit, address)
        self.limits[limit] += 1

    def take(self) -> list[Tally]:
        """Return the counts since the last call, the most frequent kind first, and reset them."""
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
