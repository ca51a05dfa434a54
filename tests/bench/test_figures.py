"""The quoted figures of measurements."""

import pytest
from bench.figures import Measured, Quote, Run
from bench.targets import LATENCY, PER_DELIVERY, Target
from bench.workloads import FLOOR, NODE, SYNKORA
from tests.bench.sample_runs import CALM, IDLE, RELAY, SLOW, relays, run_of, sample


def test_medians_are_quoted_with_their_spread() -> None:
    assert sample().quote("relay", SYNKORA, PER_DELIVERY) == Quote(5.0, 4.0, 9.0)


def test_servers_are_compared_by_their_medians() -> None:
    """The ratio of another server's figure to synkora's."""
    assert sample().ratio("relay", NODE, PER_DELIVERY) == 4.5


def test_servers_keep_their_order() -> None:
    """In any order of runs, synkora is first and the floor last."""
    assert sample().servers == (SYNKORA, NODE, FLOOR)


@pytest.mark.parametrize(
    ("figures", "fault"),
    [
        ({"lost": 3}, "lost 3, closed 0"),
        ({"lost": -1}, "lost -1, closed 0"),
        ({"closed": 1}, "lost 0, closed 1"),
        ({"delivered": 0}, "nothing was delivered"),
    ],
)
def test_a_faulty_run_is_not_quoted(figures: dict[str, float], fault: str) -> None:
    """A server that lost messages or clients did less work: its figures are not quoted, compared or judged."""
    faulty = run_of(NODE, **{PER_DELIVERY: 20.0} | figures)
    measured = Measured([*relays(SYNKORA, 5.0, 5.0), *relays(NODE, 20.0), faulty])
    assert measured.faults == [f"200 in 20 projects, 4 in flight: Node.js: {fault}"]
    assert measured.quote("relay", NODE, PER_DELIVERY) is None
    assert measured.ratio("relay", NODE, PER_DELIVERY) is None
    assert measured.verdict(RELAY, RELAY.targets[0]).met is None
    assert measured.quote("relay", SYNKORA, PER_DELIVERY) == Quote(5.0, 5.0, 5.0)


def test_a_run_that_failed_is_not_quoted() -> None:
    measured = Measured([*relays(SYNKORA, 5.0), Run(SYNKORA, RELAY, {}, "load: refused")])
    assert measured.faults == ["200 in 20 projects, 4 in flight: synkora: load: refused"]
    assert measured.quote("relay", SYNKORA, PER_DELIVERY) is None


def test_a_figure_that_a_run_lacks_is_not_quoted() -> None:
    idle = run_of(SYNKORA, IDLE, delivered=0, rss_kb_per_client=10.0)
    assert idle.fault is None
    assert Measured([idle]).quote("idle", SYNKORA, "idle_cpu_percent") is None


@pytest.mark.parametrize(
    ("target", "part", "met"),
    [
        (Target(PER_DELIVERY, 1 / 4, NODE), 5 / 22.5, True),
        (Target(PER_DELIVERY, 1 / 5, NODE), 5 / 22.5, False),
        (Target(PER_DELIVERY, 2, FLOOR), 2.0, True),
        (Target(PER_DELIVERY, 1.9, FLOOR), 2.0, False),
        (Target(PER_DELIVERY, 5), None, True),
        (Target(PER_DELIVERY, 4.9), None, False),
        (Target(LATENCY, 5), None, None),
        (Target(PER_DELIVERY, 1, "python-socketio"), None, None),
    ],
)
def test_targets_are_judged_by_medians(target: Target, part: float | None, met: bool | None) -> None:
    """A target is met if the figure is at most its part of the other figure, or at most the value. Without figures, it
    is not judged.
    """
    verdict = sample().verdict(RELAY, target)
    assert (verdict.part, verdict.met) == (part, met)


@pytest.mark.parametrize(("latency", "met"), [(2.5, True), (2.6, False)])
def test_a_workload_is_compared_with_another(latency: float, met: bool) -> None:
    """The effect of stuck clients on the others is judged by the same load without stuck clients."""
    measured = Measured([run_of(SYNKORA, CALM, p99_ms=2.0), run_of(SYNKORA, SLOW, p99_ms=latency)])
    assert measured.verdict(SLOW, SLOW.targets[0]).met is met
