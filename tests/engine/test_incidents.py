"""Incidents: counts with bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from synkora.engine.incidents import MAX_ADDRESSES, MAX_LABELS, IncidentKind, Incidents, Limit, Tally


def test_counts_by_kind_and_label() -> None:
    """The most frequent kind comes first, each with its most frequent label and the number of the others."""
    incidents = Incidents()
    incidents.note(IncidentKind.LIMIT_HIT, "join")
    for label in ("a", "b", "b", "c"):
        incidents.note(IncidentKind.ORIGIN_REFUSED, label)
    assert incidents.take() == [
        Tally(IncidentKind.ORIGIN_REFUSED, 4, "b", 2),
        Tally(IncidentKind.LIMIT_HIT, 1, "join", 0),
    ]


def test_take_resets_the_counts() -> None:
    incidents = Incidents()
    incidents.note(IncidentKind.LIMIT_HIT)
    assert incidents.take() == [Tally(IncidentKind.LIMIT_HIT, 1, "", 0)]
    assert incidents.take() == []


def test_the_first_of_each_kind_is_reported_immediately() -> None:
    told: list[tuple[str, str]] = []
    incidents = Incidents()
    incidents.on_first = lambda kind, label, _: told.append((kind, label))
    for _ in range(3):
        incidents.note(IncidentKind.ORIGIN_REFUSED, "a")
        incidents.note(IncidentKind.LIMIT_HIT, "join")
    assert told == [("origin refused", "a"), ("limit hit", "join")]
    incidents.take()
    incidents.note(IncidentKind.LIMIT_HIT, "edit")
    assert told[2:] == [("limit hit", "edit")]


def test_the_first_of_each_kind_from_each_address_is_reported_immediately() -> None:
    """Programs that block addresses need each of them, however many other addresses there are."""
    told: list[tuple[str, str]] = []
    incidents = Incidents()
    incidents.on_first = lambda kind, _, address: told.append((kind, address))
    for _ in range(3):
        incidents.note(IncidentKind.ORIGIN_REFUSED, "a", "192.0.2.1")
        incidents.note(IncidentKind.ORIGIN_REFUSED, "a", "192.0.2.2")
        incidents.note_limit(Limit.OTHER_EVENTS, "192.0.2.1")
    assert told == [("origin refused", "192.0.2.1"), ("origin refused", "192.0.2.2"), ("limit hit", "192.0.2.1")]
    origins, limits = incidents.take()
    assert origins.addresses == {"192.0.2.1": 3, "192.0.2.2": 3}
    assert limits.addresses == {"192.0.2.1": 3}
    incidents.note(IncidentKind.ORIGIN_REFUSED, "a", "192.0.2.1")
    assert told[3:] == [("origin refused", "192.0.2.1")]


def test_addresses_are_bounded() -> None:
    """An attacker with many addresses does not enlarge the counts or the log. Every incident is counted."""
    told: list[str] = []
    incidents = Incidents()
    incidents.on_first = lambda _, __, address: told.append(address)
    for number in range(1000):
        incidents.note(IncidentKind.ORIGIN_REFUSED, "a", f"2001:db8::{number:x}")
        incidents.note(IncidentKind.SIGN_IN_REFUSED, "a", f"2001:db8::{number:x}")
    assert len(told) == MAX_ADDRESSES
    tallies = incidents.take()
    assert [tally.times for tally in tallies] == [1000, 1000]
    assert sum(len(tally.addresses) for tally in tallies) == MAX_ADDRESSES


@given(st.lists(st.tuples(st.sampled_from(IncidentKind), st.text(max_size=3)), max_size=50))
def test_nothing_is_lost(noted: list[tuple[IncidentKind, str]]) -> None:
    incidents = Incidents()
    for kind, label in noted:
        incidents.note(kind, label)
    assert {tally.kind: tally.times for tally in incidents.take()} == {
        kind: sum(1 for other, _ in noted if other == kind) for kind, _ in noted
    }


def test_labels_are_bounded() -> None:
    """A client with invented labels does not enlarge the counts. Every incident is counted."""
    incidents = Incidents()
    for number in range(1000):
        incidents.note(IncidentKind.ORIGIN_REFUSED, f"{number}".rjust(1_000, "0"))
        incidents.note(IncidentKind.ORIGIN_REFUSED, f"{number}")
    (tally,) = incidents.take()
    assert tally.times == 2000
    assert tally.other_labels < MAX_LABELS
    assert len(tally.label) <= 200


def test_totals_are_never_reset() -> None:
    """Totals by kind and by limit continue when the counts are reset."""
    incidents = Incidents()
    for _ in range(2):
        incidents.note(IncidentKind.ORIGIN_REFUSED, "https://a.example")
        incidents.note(IncidentKind.ORIGIN_REFUSED, "https://b.example")
        incidents.note_limit(Limit.CLIENTS)
        incidents.take()
    assert incidents.totals == {"origin refused": 4, "limit hit": 2}
    assert incidents.limits == {"Server is full": 2}


def test_values_are_the_labels_that_alerts_rely_on() -> None:
    """Messages can be reworded. A changed value would break operators' dashboards and alerts."""
    assert [*IncidentKind] == [
        "origin refused",
        "sign-in refused",
        "blocked client refused",
        "console sign-in refused",
        "API sign-in refused",
        "access check failed",
        "limit hit",
        "file limit hit",
        "flooding client cut off",
        "request refused",
        "slow request cut off",
        "slow client cut off",
        "protocol error",
    ]
    assert [*Limit] == [
        "volatile events",
        "edit events",
        "other events",
        "bytes",
        "work for a user",
        "connections of a user",
        "Too many connections from this address",
        "Too many new connections from this address",
        "Server is full",
    ]
