"""What a worker gets from the parent."""

from pathlib import Path

from tests.app.workers.test_siblings import seat_of

from synkora.app.workers.seat import Seat


def test_a_seat_is_passed_by_the_environment(tmp_path: Path) -> None:
    """The folder and the number stay in the environment; a process of the worker is no worker itself."""
    seat = seat_of(tmp_path, 1)
    environment = seat.variables()
    assert environment["SYNKORA_WORKERS_DIR"] == str(tmp_path)
    assert environment["SYNKORA_WORKER"] == "1"
    assert Seat.take(environment) == seat
    assert Seat.take(environment) is None
    assert Seat.take({}) is None
