"""Work that is allowed now, and work that has to wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synkora.collaboration.pace import Pace


def test_cheap_work_is_done_immediately() -> None:
    """Within the burst nothing waits. Above it, the next work waits until the rest is paid."""
    pace = Pace(1.0)
    for _ in range(8):
        pace.spend(100.0, 0.125)
    assert pace.due <= 100.0
    pace.spend(100.0, 0.5)
    assert pace.due == pytest.approx(100.5)


def test_the_next_work_waits_after_expensive_work() -> None:
    """The first is due immediately, whatever its cost. The next one waits for that cost minus the burst."""
    pace = Pace(0.5)
    assert pace.due <= 0
    pace.spend(100.0, 20.0)
    assert pace.due == 119.5


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.001, 3)), max_size=50))
def test_the_total_cost_is_bounded_by_the_elapsed_time(steps: list[tuple[float, float]]) -> None:
    """By the time, the burst, and the last item that exceeded them."""
    pace, time, spent = Pace(0.5), 100.0, 0.0
    for wait, cost in steps:
        time += wait
        if pace.due <= time:
            pace.spend(time, cost)
            spent += cost
        assert spent <= time - 100.0 + 0.5 + 3 + 1e-6
