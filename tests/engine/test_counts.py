"""The number of connections of an address or a user."""

from synkora.engine.counts import LocalCounts


def test_each_name_is_counted_separately_and_removed_at_zero() -> None:
    counts = LocalCounts()
    counts.add("ann")
    counts.add("ann")
    counts.add("bob")
    counts.remove("ann")
    assert [counts.total(name) for name in ("ann", "bob", "carol")] == [1, 1, 0]
    assert len(counts) == 2
    counts.remove("ann")
    counts.remove("bob")
    assert len(counts) == 0
