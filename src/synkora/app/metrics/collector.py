"""The server's counts as Prometheus metrics, read at each scrape.

Source: prometheus.io/docs/practices/naming; prometheus.io/docs/instrumenting/writing_exporters.
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client.metrics_core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from synkora import __version__
from synkora.app.instance import Instance
from synkora.app.metrics.families import counter, counters, gauge, gauges, histogram
from synkora.app.stats import OutboxStats, RecoveryStats, RedisStats, Stats, WebhookStats
from synkora.collaboration.access_answers import AccessOutcome
from synkora.collaboration.authentication import SignInOutcome
from synkora.engine.close_reasons import Reason
from synkora.engine.incidents import IncidentKind, Limit
from synkora.serving.forwarding import WAYS, ForwardCounts
from synkora.sockets.socket_recovery import RecoveryOutcome

# The values of labels. Each starts at zero, so that the first count is an increase.
LOG_LEVELS: Final = ("warning", "error")


class ServerCollector(Collector):
    """Renders an instance's counts, and in a cluster those of Redis."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def describe(self) -> list[Metric]:
        """Return nothing, so that registration does not collect before the server runs."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        stats = self._instance.stats()
        yield InfoMetricFamily("synkora_build", "The version of the server.", {"version": __version__})
        yield from _connections(stats)
        yield from _traffic(stats)
        yield from _admission(stats)
        yield from self._troubles(stats)
        if stats.recovery is not None:
            yield from _recovery(stats.recovery)
        if stats.webhooks is not None:
            yield from _webhooks(stats.webhooks)
        if stats.outbox is not None:
            yield from _database_outbox(stats.outbox)
        if stats.redis is not None:
            yield from _redis(stats.redis)
        if self._instance.forwards is not None:
            yield from _forwards(self._instance.forwards)

    def _troubles(self, stats: Stats) -> Iterator[Metric]:
        instance = self._instance
        yield histogram("synkora_loop_lag_seconds", "Delay of the event loop.", instance.lag.durations)
        yield counter("synkora_slow_clients_cut_off", "Slow consumers that were disconnected.", stats.cut_off)
        yield counters("synkora_incidents", "Incidents, by kind.", "kind", IncidentKind, stats.incidents)
        yield counters("synkora_limits_hit", "Exceeded limits.", "limit", Limit, stats.limits)
        yield counters(
            "synkora_log_entries", "Log entries, written or only counted.", "level", LOG_LEVELS, instance.logged
        )
        yield counter(
            "synkora_log_lines_lost",
            "Log lines lost, because the output was blocked or the disk was full.",
            instance.lines_lost,
        )


def _connections(stats: Stats) -> Iterator[Metric]:
    yield gauges("synkora_connections", "Open connections, by transport.", "transport", stats.transports)
    yield gauge("synkora_signed_in_connections", "Open connections with a signed-in user.", stats.signed_in)
    yield gauge("synkora_users", "Users with a connection to this instance.", stats.users)
    yield gauge("synkora_projects", "Projects with members on this instance.", stats.projects)
    yield counters(
        "synkora_connections_opened",
        "Opened connections, by first transport.",
        "transport",
        stats.transports,
        stats.opened,
    )
    yield counters(
        "synkora_disconnects",
        "Ended connections of signed-in users, by reason.",
        "reason",
        [reason.value for reason in Reason],
        stats.disconnects,
    )
    yield gauge("synkora_outbox_bytes", "Bytes in the backlogs of slow consumers.", stats.waiting_bytes)
    yield gauge("synkora_outbox_clients", "Slow consumers with a backlog.", stats.waiting_clients)


def _traffic(stats: Stats) -> Iterator[Metric]:
    yield counters("synkora_events_received", "Events from clients.", "event", stats.events, stats.events)
    yield counter("synkora_events_refused", "Events that were answered with an error.", stats.refused)
    yield counter("synkora_joins", "Joins of projects.", stats.joins)
    yield counter("synkora_deliveries", "Messages for clients, counted once per recipient.", stats.deliveries)
    yield counter("synkora_deliveries_dropped", "Volatile messages dropped for slow consumers.", stats.dropped)
    yield counter("synkora_received_bytes", "Bytes of the messages from clients.", stats.bytes_in)
    yield counter("synkora_sent_bytes", "Bytes of the messages for clients, as on a WebSocket.", stats.bytes_out)
    yield histogram(
        "synkora_turn_duration_seconds",
        "Time from the first message of a turn of the event loop to the end of the turn's writes.",
        stats.turns,
    )


def _admission(stats: Stats) -> Iterator[Metric]:
    yield counters("synkora_sign_ins", "Sign-ins, by outcome.", "outcome", SignInOutcome, stats.sign_ins)
    yield histogram("synkora_sign_in_duration_seconds", "Time to verify a token.", stats.sign_in_durations)
    yield counters(
        "synkora_access_checks",
        "Access checks with the app or its database, by outcome.",
        "outcome",
        AccessOutcome,
        stats.access_checks,
    )
    yield histogram("synkora_access_check_duration_seconds", "Time of an access check.", stats.access_check_durations)


def _recovery(recovery: RecoveryStats) -> Iterator[Metric]:
    yield counters(
        "synkora_recoveries", "Clients that returned, by the outcome.", "outcome", RecoveryOutcome, recovery.outcomes
    )
    yield histogram("synkora_replay_events", "Events of a replay.", recovery.replays)
    yield counter("synkora_replayed_bytes", "Bytes of the events in replays.", recovery.replayed_bytes)
    yield gauge("synkora_recovery_log_bytes", "Bytes of the kept events.", recovery.kept_bytes)
    yield counter("synkora_recovery_events_lost", "Events that Redis did not keep.", recovery.lost)
    yield counter("synkora_recovery_gaps", "How often events of other instances were missed here.", recovery.gaps)


def _webhooks(webhooks: WebhookStats) -> Iterator[Metric]:
    yield counter("synkora_webhook_events_sent", "Events that the receiver took.", webhooks.sent)
    yield counter("synkora_webhook_events_dropped", "Events that were never received.", webhooks.dropped)
    yield counter("synkora_webhook_failures", "Attempts to send that failed.", webhooks.failed)
    yield gauge("synkora_webhook_events_waiting", "Events that wait to be sent.", webhooks.waiting)
    yield gauge("synkora_webhook_oldest_age_seconds", "Age of the oldest event that waits.", webhooks.oldest_age)


def _database_outbox(outbox: OutboxStats) -> Iterator[Metric]:
    name = "synkora_database_outbox"
    yield gauge(f"{name}_reader", "Whether this instance reads the database outbox.", int(outbox.is_reader))
    yield counter(f"{name}_rows_published", "Published rows.", outbox.published)
    reasons = outbox.set_aside
    yield counters(f"{name}_rows_set_aside", "Rows that cannot be published.", "reason", reasons, reasons)
    yield counter(f"{name}_failures", "Failures of the database.", outbox.failures)
    yield gauge(f"{name}_rows_waiting", "Rows that wait to be published.", outbox.waiting)
    yield gauge(f"{name}_oldest_age_seconds", "Age of the oldest row that waits.", outbox.oldest_age)


def _redis(redis: RedisStats) -> Iterator[Metric]:
    yield gauge("synkora_redis_up", "Whether this instance is connected to the cluster.", int(redis.is_up))
    if redis.round_trip is not None:
        yield gauge(
            "synkora_redis_round_trip_seconds", "Round trip of the last heartbeat through Redis.", redis.round_trip
        )
    yield counter("synkora_redis_published", "Published messages.", redis.published)
    yield counter("synkora_redis_received", "Received messages, heartbeats included.", redis.received)
    yield counter("synkora_redis_dropped", "Messages lost while Redis was unavailable.", redis.dropped)
    yield counter("synkora_redis_reconnects", "Connections to Redis after the first.", redis.reconnects)


def _forwards(counts: ForwardCounts) -> Iterator[Metric]:
    yield counters(
        "synkora_forwarded_requests", "Requests for sessions of other instances, by way.", "way", WAYS, counts.total
    )
    yield counters(
        "synkora_forwards_failed",
        "Requests whose owner was not reached, or ended the connection, or refused, by way.",
        "way",
        WAYS,
        counts.lost,
    )
    yield gauge("synkora_forwards_pending", "Forwarded requests under way, WebSockets included.", counts.now)
    yield gauge("synkora_forwarded_websockets", "Open forwarded WebSockets.", counts.websockets)
    yield counter("synkora_forwarded_bytes", "Forwarded bytes, in both directions.", counts.bytes)
