"""The health of all workers as one."""

import pytest

from synkora.app.workers.health import Health, WorkerHealth, combined


def worker(number: int, status: str = "healthy", reason: str | None = None, *projects: str) -> WorkerHealth:
    return WorkerHealth(number, False, status, reason, 10, list(projects))


def test_counts_are_sums_and_a_project_counts_once() -> None:
    answers = [worker(0, "healthy", None, "a", "b"), worker(1, "healthy", None, "b", "c")]
    assert combined(answers, 2) == Health("healthy", None, 20, 3, 2)


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [((0, 2), "worker 1 of 3 missing"), ((1,), "workers 0, 2 of 3 missing"), ((), "workers 0, 1, 2 of 3 missing")],
)
def test_a_missing_worker_is_named(numbers: tuple[int, ...], reason: str) -> None:
    health = combined([worker(number) for number in numbers], 3)
    assert (health.status, health.reason, health.workers) == ("degraded", reason, len(numbers))


def test_the_problem_of_one_worker_is_one_of_the_server() -> None:
    health = combined([worker(0), worker(1, "degraded", "Redis is unavailable")], 2)
    assert (health.status, health.reason) == ("degraded", "Redis is unavailable")


def test_a_stop_is_one_of_all_workers() -> None:
    """Until then the server accepts clients."""
    stopping = [worker(0, "shutting down"), worker(1, "shutting down")]
    assert combined(stopping, 2).status == "shutting down"
    assert combined([stopping[0], worker(1)], 2).status == "degraded"


def test_a_worker_that_leaves_only_has_clients() -> None:
    """Another one has its number."""
    leaving = WorkerHealth(0, True, "shutting down", None, 5, ["a"])
    assert combined([worker(0, "healthy", None, "b"), leaving], 1) == Health("healthy", None, 15, 2, 1)
    assert combined([leaving], 1).reason == "worker 0 of 1 missing"
