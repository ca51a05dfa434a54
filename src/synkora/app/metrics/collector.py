"""What Prometheus is told: the server's own counts, read when it asks.

Source: prometheus.io/docs/practices/naming; prometheus.io/docs/instrumenting/writing_exporters.
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client.metrics_core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from synkora import __version__
from synkora.app.instance import Instance
from synkora.app.metrics.families import counter, counters, gauge, gauges, histogram
from synkora.app.stats import RecoveryStats, RedisStats, Stats
from synkora.collaboration.access_answers import AccessOutcome
from synkora.collaboration.authentication import SignInOutcome
from synkora.engine.close_reasons import Reason
from synkora.engine.incidents import IncidentKind, Limit
from synkora.sockets.recovery import RecoveryOutcome

# The values of labels: each is counted from zero on, so that the first of them is seen as an increase.
LOG_LEVELS: Final = ("warning", "error")


class ServerCollector(Collector):
    """Renders an instance's counts, with those of Redis where there is a cluster."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def describe(self) -> list[Metric]:
        """Nothing, so that nothing is collected before the server runs."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All that there is to tell now."""
        stats = self._instance.stats()
        yield InfoMetricFamily("synkora_build", "The version of the server.", {"version": __version__})
        yield from _connections(stats)
        yield from _traffic(stats)
        yield from _admission(stats)
        yield from self._troubles(stats)
        if stats.recovery is not None:
            yield from _recovery(stats.recovery)
        if stats.redis is not None:
            yield from _redis(stats.redis)

    def _troubles(self, stats: Stats) -> Iterator[Metric]:
        instance = self._instance
        yield histogram("synkora_loop_lag_seconds", "By how much the event loop was late.", instance.lag.durations)
        yield counter(
            "synkora_slow_clients_cut_off", "Clients that were cut off since too much waited for them.", stats.cut_off
        )
        yield counters(
            "synkora_incidents", "What should not happen, by its kind.", "kind", IncidentKind, stats.incidents
        )
        yield counters("synkora_limits_hit", "Limits that were hit.", "limit", Limit, stats.limits)
        yield counters(
            "synkora_log_entries", "Entries of the log, written or counted.", "level", LOG_LEVELS, instance.logged
        )
        yield counter(
            "synkora_log_lines_lost",
            "Log lines lost, since nobody read them or the disk was full.",
            instance.lines_lost,
        )


def _connections(stats: Stats) -> Iterator[Metric]:
    yield gauges("synkora_connections", "Connections that are open, by their transport.", "transport", stats.transports)
    yield gauge("synkora_signed_in_connections", "Connections that somebody is signed in over.", stats.signed_in)
    yield gauge("synkora_users", "Users with a connection here.", stats.users)
    yield gauge("synkora_projects", "Projects with somebody in them here.", stats.projects)
    yield counters(
        "synkora_connections_opened",
        "Connections that were opened, by their first transport.",
        "transport",
        stats.transports,
        stats.opened,
    )
    yield counters(
        "synkora_disconnects",
        "Connections with somebody signed in that ended, by the reason.",
        "reason",
        [reason.value for reason in Reason],
        stats.disconnects,
    )
    yield gauge("synkora_outbox_bytes", "Bytes that wait for clients which do not read.", stats.waiting_bytes)
    yield gauge(
        "synkora_outbox_clients", "Clients that something waits for, since they do not read.", stats.waiting_clients
    )


def _traffic(stats: Stats) -> Iterator[Metric]:
    yield counters("synkora_events_received", "Events from clients.", "event", stats.events, stats.events)
    yield counter("synkora_events_refused", "Events that were answered with an error.", stats.refused)
    yield counter("synkora_joins", "Joins of projects.", stats.joins)
    yield counter("synkora_deliveries", "Messages for clients, one for each that gets it.", stats.deliveries)
    yield counter(
        "synkora_deliveries_dropped", "Volatile messages that clients lost, since they did not read.", stats.dropped
    )
    yield counter("synkora_received_bytes", "Bytes of the messages from clients.", stats.bytes_in)
    yield counter("synkora_sent_bytes", "Bytes of the messages for clients, as on a WebSocket.", stats.bytes_out)
    yield histogram(
        "synkora_turn_duration_seconds",
        "From the first message of a turn of the event loop to the end of its writes.",
        stats.turns,
    )


def _admission(stats: Stats) -> Iterator[Metric]:
    yield counters("synkora_sign_ins", "Sign-ins, by what came of them.", "outcome", SignInOutcome, stats.sign_ins)
    yield histogram("synkora_sign_in_duration_seconds", "What it took to judge a token.", stats.sign_in_durations)
    yield counters(
        "synkora_access_checks",
        "Questions to the app or its database who may join a project, by the answer.",
        "outcome",
        AccessOutcome,
        stats.access_checks,
    )
    yield histogram("synkora_access_check_duration_seconds", "What such an answer took.", stats.access_check_durations)


def _recovery(recovery: RecoveryStats) -> Iterator[Metric]:
    yield counters(
        "synkora_recoveries", "Clients that returned, by the outcome.", "outcome", RecoveryOutcome, recovery.outcomes
    )
    yield histogram("synkora_replay_events", "Events of a replay.", recovery.replays)
    yield counter("synkora_replayed_bytes", "Bytes of the events in replays.", recovery.replayed_bytes)
    yield gauge("synkora_recovery_log_bytes", "Bytes of the events that are kept.", recovery.kept_bytes)
    yield counter("synkora_recovery_events_lost", "Events that Redis did not keep.", recovery.lost)
    yield counter("synkora_recovery_gaps", "How often events of other instances were missed here.", recovery.gaps)


def _redis(redis: RedisStats) -> Iterator[Metric]:
    yield gauge("synkora_redis_up", "Whether this instance is joined to the others.", int(redis.is_up))
    if redis.round_trip is not None:
        yield gauge("synkora_redis_round_trip_seconds", "What the last heartbeat through Redis took.", redis.round_trip)
    yield counter("synkora_redis_published", "Messages that were published.", redis.published)
    yield counter("synkora_redis_received", "Messages that came, heartbeats included.", redis.received)
    yield counter("synkora_redis_dropped", "Messages that were lost, since Redis was away.", redis.dropped)
    yield counter("synkora_redis_reconnects", "Connections to Redis after the first.", redis.reconnects)
