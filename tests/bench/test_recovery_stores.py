"""The comparison of stores."""

from bench.recovery_stores import STORES, compare


async def test_each_store_is_measured() -> None:
    """Those with files load what they have written."""
    found = await compare(events=200, rate=100_000, rounds=1)
    assert found.keys() == STORES.keys()
    assert [name for name, figures in found.items() if figures.file_mb == 0] == ["memory"]
    assert all(figures.loop_us > 0 for figures in found.values())
