"""The measured workloads."""

import pytest
from bench.catalogue import BY_NAME, FULL, SHORT
from bench.targets import FIGURES
from bench.workloads import FLOOR, PYTHON_SOCKETIO, SERVERS, SYNKORA, Workload


def test_workloads_have_names_of_their_own() -> None:
    """All names differ, and so do all descriptions."""
    assert len(BY_NAME) == len(FULL) == len({str(workload) for workload in FULL})
    assert set(SHORT) <= set(FULL)


@pytest.mark.parametrize("workload", FULL, ids=lambda workload: workload.name)
def test_a_workload_can_be_judged(workload: Workload) -> None:
    """Its figures exist, and so do the figures that its targets are compared with."""
    assert workload.clients % workload.projects == 0
    assert set(workload.figures) <= set(FIGURES)
    assert SYNKORA in workload.servers
    assert set(workload.servers) <= set(SERVERS)
    for target in workload.targets:
        assert target.figure in workload.figures
        assert target.server is None or target.server in workload.servers
        assert target.workload is None or target.workload in BY_NAME


@pytest.mark.parametrize("workload", FULL, ids=lambda workload: workload.name)
def test_only_cursors_are_measured_by_the_floor(workload: Workload) -> None:
    """floor.c relays cursors over WebSocket. python-socketio gets the workloads that it can finish within minutes."""
    if FLOOR in workload.servers or PYTHON_SOCKETIO in workload.servers:
        assert workload.window or workload.rate
        assert workload.event == "canvas:cursor"
        assert workload.transport == "websocket"
