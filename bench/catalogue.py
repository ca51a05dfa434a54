"""The workloads that are measured, the servers that each is given to, and what is asked of this project's."""

from dataclasses import replace

from bench.targets import (
    CONNECT,
    CPU,
    IDLE_CPU,
    JOIN,
    LATENCY,
    LEAVE,
    MEMORY,
    ON_THE_WIRE,
    PEAK,
    PER_DELIVERY,
    REDIS_CPU,
    SPARE_CPU,
    Target,
    times_cheaper,
)
from bench.workloads import FLOOR, NODE, PYTHON_SOCKETIO, SERVERS, SYNKORA, Workload

_IN_FLIGHT_4 = (times_cheaper(4, NODE), Target(PER_DELIVERY, 2, FLOOR))
_IN_FLIGHT_1 = (times_cheaper(2.5, NODE), Target(PER_DELIVERY, 2, FLOOR))
#: python-socketio gets only the relays with 4 in flight: they show its place, and it needs long for them.
_PYTHON = times_cheaper(20, PYTHON_SOCKETIO)
_BOTH = (SYNKORA, NODE)
_WITHOUT_BUN = (SYNKORA, NODE, PYTHON_SOCKETIO, FLOOR)
_CLUSTER = (times_cheaper(3, NODE), Target(REDIS_CPU, 1, NODE))


def _cluster(name: str, *, window: int, instances: int) -> Workload:
    """200 clients in 20 projects on several instances."""
    figures = (PER_DELIVERY, REDIS_CPU)
    return Workload(name, 200, 20, window=window, instances=instances, servers=_BOTH, figures=figures, targets=_CLUSTER)


_CLUSTER_RELAY = _cluster("cluster", window=4, instances=2)
_CLUSTER_POLLING = replace(
    _CLUSTER_RELAY, name="cluster-polling", transport="polling", targets=(Target(PER_DELIVERY, 1, NODE),)
)


def _forwarded(direct: Workload) -> Workload:
    """The same, with sessions whose requests all arrive at another instance."""
    target = Target(PER_DELIVERY, 3, workload=direct.name)
    return replace(
        direct,
        name=f"{direct.name}-forwarded",
        forwarded=True,
        servers=(SYNKORA,),
        figures=(PER_DELIVERY,),
        targets=(target,),
    )


#: As many bytes as fill the buffers of the kernel and of the server for clients that do not read.
_NONE_STUCK = Workload(
    "none-stuck",
    200,
    20,
    rate=40,
    senders=1,
    event="markdown:update",
    pad=20_000,
    seconds=8,
    servers=_BOTH,
    figures=(PER_DELIVERY, LATENCY, PEAK),
)

FULL = (
    Workload("relay-50", 50, 1, window=4, servers=_WITHOUT_BUN, targets=(*_IN_FLIGHT_4, _PYTHON)),
    Workload("relay-200", 200, 20, window=4, servers=SERVERS, targets=(*_IN_FLIGHT_4, _PYTHON)),
    Workload("relay-500", 500, 100, window=4, servers=_WITHOUT_BUN, targets=(*_IN_FLIGHT_4, _PYTHON)),
    Workload("relay-1000", 1000, 1, window=4, targets=_IN_FLIGHT_4),
    Workload("relay-50-single", 50, 1, window=1, targets=_IN_FLIGHT_1),
    Workload("relay-200-single", 200, 20, window=1, targets=_IN_FLIGHT_1),
    Workload("relay-500-single", 500, 100, window=1, targets=_IN_FLIGHT_1),
    Workload("relay-1000-single", 1000, 1, window=1, targets=_IN_FLIGHT_1),
    Workload(
        "steady",
        500,
        100,
        rate=10,
        seconds=8,
        figures=(CPU, LATENCY),
        targets=(times_cheaper(2, NODE, CPU), Target(LATENCY, 1, NODE)),
    ),
    Workload(
        "documents",
        200,
        20,
        window=1,
        event="markdown:update",
        pad=20_000,
        servers=_BOTH,
        targets=(times_cheaper(3, NODE),),
    ),
    Workload("canvas", 200, 20, window=4, event="canvas:update", pad=4_000, servers=_BOTH),
    Workload(
        "polling", 200, 20, window=4, transport="polling", servers=_BOTH, targets=(Target(PER_DELIVERY, 1, NODE),)
    ),
    Workload(
        "connect",
        2000,
        200,
        seconds=0.1,
        servers=_BOTH,
        figures=(CONNECT, MEMORY),
        targets=(times_cheaper(2, NODE, CONNECT),),
    ),
    # Everybody is pinged at least once within 30 s.
    Workload(
        "idle",
        8000,
        800,
        seconds=30,
        servers=_BOTH,
        figures=(MEMORY, IDLE_CPU),
        targets=(Target(MEMORY, 12), Target(MEMORY, 1, NODE)),
    ),
    Workload(
        "joining",
        1000,
        1,
        storm=True,
        servers=_BOTH,
        figures=(JOIN, LEAVE),
        targets=(times_cheaper(10, NODE, JOIN), times_cheaper(10, NODE, LEAVE)),
    ),
    _NONE_STUCK,
    replace(_NONE_STUCK, name="slow", stuck=20, targets=(Target(LATENCY, 1.25, workload="none-stuck"),)),
    Workload(
        "compressed",
        200,
        1,
        window=1,
        event="markdown:update",
        pad=20_000,
        compressed=True,
        servers=_BOTH,
        figures=(PER_DELIVERY, ON_THE_WIRE),
        targets=(times_cheaper(10, NODE),),
    ),
    _CLUSTER_RELAY,
    _cluster("cluster-single", window=1, instances=2),
    _forwarded(_CLUSTER_RELAY),
    _CLUSTER_POLLING,
    _forwarded(_CLUSTER_POLLING),
    # The most expensive case: each of ten members of a project is on another instance.
    _cluster("cluster-ten", window=4, instances=10),
    # 1,000 messages a second for any server: the cost for an instance that delivers no message.
    Workload(
        "cluster-spare",
        200,
        20,
        rate=5,
        instances=2,
        spare=True,
        seconds=10,
        servers=_BOTH,
        figures=(SPARE_CPU, CPU, REDIS_CPU),
        targets=(Target(SPARE_CPU, 1), Target(REDIS_CPU, 1, NODE)),
    ),
)

BY_NAME = {workload.name: workload for workload in FULL}
#: One of each kind that does not take a minute for each run.
SHORT = tuple(
    BY_NAME[name]
    for name in (
        "relay-200",
        "relay-200-single",
        "steady",
        "documents",
        "polling",
        "connect",
        "compressed",
        "cluster",
        "cluster-forwarded",
    )
)
