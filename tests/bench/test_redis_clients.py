"""The comparison of Redis clients."""

import sys
from pathlib import Path

import pytest
from bench.redis_clients import LIBRARIES, measure, table
from rich.console import Console
from tests.support.redis_server import RedisServer


def figures_of(redis: RedisServer, work: str) -> dict[str, float]:
    return measure(Path(sys.executable), "synkora", work, redis.port, 0.2)


@pytest.mark.parametrize("work", ["scattered", "together", "receive"])
def test_messages_are_counted(redis: RedisServer, work: str) -> None:
    """Each kind of traffic has a rate, and a cost that does not exceed the elapsed time."""
    figures = figures_of(redis, work)
    assert figures["messages_per_s"] > 0
    assert 0 < figures["cpu_us"] * figures["messages_per_s"] <= 1.2e6


def test_publishes_of_one_turn_are_written_together(redis: RedisServer) -> None:
    """Redis reads fewer times than there are callers: once, and once for the command that waits for all."""
    assert figures_of(redis, "scattered")["reads_per_turn"] < 5


def test_replies_keep_their_order_among_messages(redis: RedisServer) -> None:
    figures = figures_of(redis, "order")
    assert figures["replies"] > 10
    assert figures["misplaced"] == 0


def test_the_table_has_a_column_for_each_library() -> None:
    work: dict[str, dict[str, float]] = {
        "scattered": {"cpu_us": 1.25, "messages_per_s": 1000, "reads_per_turn": 1.5},
        "together": {"cpu_us": 2, "messages_per_s": 2000},
        "receive": {"cpu_us": 3, "messages_per_s": 3000},
        "order": {"misplaced_percent": 12},
    }
    console = Console(width=200, record=True)
    console.print(table(dict.fromkeys(LIBRARIES, work)))
    shown = console.export_text()
    assert all(library in shown for library in LIBRARIES)
    assert all(figure in shown for figure in ("1.2", "1,000", "1.5", "2,000", "3,000", "12"))
