"""What the parent decides without processes; tests/end_to_end/test_workers.py has the rest."""

import pytest

from synkora.app.workers.parent import _pause, _reason


def test_a_worker_that_ends_at_once_again_and_again_waits_longer() -> None:
    """Half a second, then twice as long each time, up to 30 s."""
    assert [_pause(failures) for failures in range(9)] == [0, 0, 0.5, 1, 2, 4, 8, 16, 30]
    assert _pause(10_000) == 30


@pytest.mark.parametrize(
    ("status", "words"), [(1, "exit status 1"), (-9, "killed by SIGKILL"), (-63, "killed by signal 63")]
)
def test_the_reason_of_an_end_is_named(status: int, words: str) -> None:
    assert _reason(status) == words
