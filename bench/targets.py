"""The figures that are quoted, and what is asked of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """The description of a figure of load.c. Less is better in all of them."""

    unit: str
    digits: int

    def written(self, value: float) -> str:
        """A value, without its unit."""
        return f"{value:,.{self.digits}f}"


PER_DELIVERY = "cpu_us_per_delivery"
CPU = "server_cpu_percent"
LATENCY = "p99_ms"
CONNECT = "connect_cpu_ms"
MEMORY = "rss_kb_per_client"
PEAK = "rss_peak_mb"
IDLE_CPU = "idle_cpu_percent"
JOIN = "join_cpu_ms"
LEAVE = "leave_cpu_ms"
ON_THE_WIRE = "wire_bytes_per_delivery"
REDIS_CPU = "redis_cpu_us_per_delivery"
SPARE_CPU = "spare_cpu_percent"

FIGURES = {
    PER_DELIVERY: Figure("µs a delivery", 2),
    CPU: Figure("% of a core", 1),
    LATENCY: Figure("ms, p99 latency", 2),
    CONNECT: Figure("ms a connection", 2),
    MEMORY: Figure("kB a client", 1),
    PEAK: Figure("MB at the most", 0),
    IDLE_CPU: Figure("% of a core, idle", 2),
    JOIN: Figure("ms, all joining", 0),
    LEAVE: Figure("ms, all leaving", 0),
    ON_THE_WIRE: Figure("bytes a delivery", 0),
    REDIS_CPU: Figure("µs of Redis a delivery", 2),
    SPARE_CPU: Figure("% of a core, idle instance", 2),
}


@dataclass(frozen=True)
class Target:
    """What synkora's figure may be at most.

    That is `at_most` times the figure of another server, or times its own under another workload, in the same run;
    or, where neither is named, `at_most` itself.
    """

    figure: str
    at_most: float
    server: str | None = None
    workload: str | None = None

    def __str__(self) -> str:
        if self.server is not None and self.at_most <= 1:
            return f"{self.server} ≥ {1 / self.at_most:g} ×"
        other = self.workload or self.server
        return f"≤ {self.at_most:g} × {other}" if other else f"≤ {self.at_most:g}"


def times_cheaper(times: float, than: str, figure: str = PER_DELIVERY) -> Target:
    """The other server's figure is at least this many times as high."""
    return Target(figure, 1 / times, than)
