"""Runs with chosen figures."""

from bench.figures import Measured, Run
from bench.targets import LATENCY, PER_DELIVERY, Target, times_cheaper
from bench.workloads import FLOOR, NODE, SYNKORA, Workload

RELAY = Workload(
    "relay",
    200,
    20,
    window=4,
    targets=(times_cheaper(4, NODE), Target(PER_DELIVERY, 2, FLOOR), Target(PER_DELIVERY, 6)),
)
IDLE = Workload("idle", 50, 5, figures=("rss_kb_per_client", "idle_cpu_percent"))
CALM = Workload("calm", 200, 20, rate=10, figures=(LATENCY,))
SLOW = Workload(
    "slow", 200, 20, rate=10, stuck=20, figures=(LATENCY,), targets=(Target(LATENCY, 1.25, workload="calm"),)
)


def run_of(server: str, workload: Workload = RELAY, /, **figures: float) -> Run:
    """A run with these figures, by default without a fault."""
    return Run(server, workload, {"lost": 0, "closed": 0, "delivered": 1, **figures})


def relays(server: str, *costs: float) -> list[Run]:
    return [run_of(server, **{PER_DELIVERY: cost}) for cost in costs]


def sample() -> Measured:
    return Measured(
        [*relays(SYNKORA, 9.0, 4.0, 5.0), *relays(FLOOR, 2.0, 2.5, 3.0), *relays(NODE, 24.0, 20.0, 22.5)],
    )
