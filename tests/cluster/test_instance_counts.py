"""Counts of this instance and of all others."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from synkora.cluster.instance_counts import InstanceCounts

NAMES = ("ann", "bob")
INSTANCES = ("here", "a", "b")
CHANGES = st.lists(st.tuples(st.sampled_from(INSTANCES), st.sampled_from(NAMES), st.booleans()))


def nothing() -> None:
    """Ignore a change."""


@given(CHANGES)
def test_a_total_is_the_sum_over_all_instances(changes: list[tuple[str, str, bool]]) -> None:
    """In any order of changes here and elsewhere."""
    counts = InstanceCounts(nothing)
    truth = {instance: Counter[str]() for instance in INSTANCES}
    for instance, name, comes in changes:
        if not comes and not truth[instance][name]:
            continue
        truth[instance][name] += 1 if comes else -1
        if instance != "here":
            counts.set(instance, {name: truth[instance][name]})
        elif comes:
            counts.add(name)
        else:
            counts.remove(name)
        for each in NAMES:
            assert counts.total(each) == sum(known[each] for known in truth.values())
    assert counts.here == {name: count for name, count in truth["here"].items() if count}
    for instance in ("a", "b"):
        counts.drop(instance)
    assert all(counts.total(name) == truth["here"][name] for name in NAMES)


def test_a_change_is_reported_once() -> None:
    """At the first change after `take`. Each name has its current count, including zero."""
    calls: list[None] = []
    counts = InstanceCounts(lambda: calls.append(None))
    counts.add("ann")
    counts.add("ann")
    counts.add("bob")
    counts.remove("bob")
    assert len(calls) == 1
    assert counts.take() == {"ann": 2, "bob": 0}
    assert counts.take() == {}
    counts.remove("ann")
    assert len(calls) == 2
    assert counts.take() == {"ann": 1}


def test_names_with_zero_connections_are_removed() -> None:
    """Reading an unknown name does not add it."""
    counts = InstanceCounts(nothing)
    counts.add("ann")
    counts.remove("ann")
    counts.set("a", {"ann": 1})
    counts.set("a", {"ann": 0, "bob": 0})
    assert counts.total("bob") == 0
    assert len(counts) == 0
    assert counts.here == {}
    assert counts._elsewhere == {"a": {}}
