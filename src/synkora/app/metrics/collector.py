"""What Prometheus is told: the server's own counts, read when it asks.

Source: prometheus.io/docs/practices/naming; prometheus.io/docs/instrumenting/writing_exporters.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.metrics_core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from synkora import __version__
from synkora.app.cluster import Cluster
from synkora.app.logs.output import Output
from synkora.app.metrics.families import counter, counters, gauge, gauges, histogram
from synkora.app.metrics.loop_lag import LoopLag
from synkora.collaboration.access_answers import AccessOutcome
from synkora.collaboration.authentication import SignInOutcome
from synkora.collaboration.service import Collaboration
from synkora.engine.disconnect import Reason
from synkora.engine.incidents import IncidentKind, Limit
from synkora.sockets.internals import refused_events, registry_of
from synkora.sockets.server import SocketServer

# The values of labels: each is counted from zero on, so that the first of them is seen as an increase.
LOG_LEVELS: Final = ("warning", "error")


class ServerCollector(Collector):
    """Reads a server's counts; `logged` are its log's entries by level. With a cluster there are those of Redis too.

    `output` is where the log's lines go, if they are written by the server itself.
    """

    def __init__(
        self,
        server: SocketServer,
        collaboration: Collaboration,
        lag: LoopLag,
        logged: Mapping[str, int],
        cluster: Cluster | None,
        output: Output | None = None,
    ) -> None:
        self._server = server
        self._collaboration = collaboration
        self._lag = lag
        self._logged = logged
        self._cluster = cluster
        self._output = output

    def describe(self) -> list[Metric]:
        """Nothing, so that nothing is collected before the server runs."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All that there is to tell now."""
        yield InfoMetricFamily("synkora_build", "The version of the server.", {"version": __version__})
        yield from self._connections()
        yield from self._traffic()
        yield from self._admission()
        yield from self._troubles()
        if self._cluster is not None:
            yield from _redis(self._cluster)

    def _connections(self) -> Iterator[Metric]:
        people, registry = self._collaboration, registry_of(self._server)
        waiting = registry.flusher.holding
        yield gauges(
            "synkora_connections",
            "Connections that are open, by their transport.",
            "transport",
            {name: registry.transports[name] for name in self._server.settings.transports},
        )
        yield gauge("synkora_signed_in_connections", "Connections that somebody is signed in over.", people.connections)
        yield gauge("synkora_users", "Users with a connection here.", people.users)
        yield gauge("synkora_projects", "Projects with somebody in them here.", people.presence.projects)
        yield counters(
            "synkora_connections_opened",
            "Connections that were opened, by their first transport.",
            "transport",
            self._server.settings.transports,
            registry.opened,
        )
        yield counters(
            "synkora_disconnects",
            "Connections with somebody signed in that ended, by the reason.",
            "reason",
            [reason.value for reason in Reason],
            people.disconnects,
        )
        yield gauge(
            "synkora_outbox_bytes",
            "Bytes that wait for clients which do not read.",
            sum(outbox.waiting_bytes for outbox in waiting),
        )
        yield gauge("synkora_outbox_clients", "Clients that something waits for, since they do not read.", len(waiting))

    def _traffic(self) -> Iterator[Metric]:
        people, flusher = self._collaboration, registry_of(self._server).flusher
        events = {name: received.times for name, received in people.received.items()}
        events["other"] = people.received_others.times
        yield counters("synkora_events_received", "Events from clients.", "event", events, events)
        yield counter(
            "synkora_events_refused", "Events that were answered with an error.", refused_events(self._server.of("/"))
        )
        yield counter("synkora_joins", "Joins of projects.", people.projects.joins)
        yield counter("synkora_deliveries", "Messages for clients, one for each that gets it.", flusher.deliveries)
        yield counter(
            "synkora_deliveries_dropped",
            "Volatile messages that clients lost, since they did not read.",
            flusher.dropped,
        )
        yield counter("synkora_received_bytes", "Bytes of the messages from clients.", flusher.bytes_in)
        yield counter("synkora_sent_bytes", "Bytes of the messages for clients, as on a WebSocket.", flusher.bytes_out)
        yield histogram(
            "synkora_turn_duration_seconds",
            "From the first message of a turn of the event loop to the end of its writes.",
            flusher.turns,
        )

    def _admission(self) -> Iterator[Metric]:
        signing_in, access = self._collaboration.signing_in, self._collaboration.access
        yield counters(
            "synkora_sign_ins", "Sign-ins, by what came of them.", "outcome", SignInOutcome, signing_in.outcomes
        )
        yield histogram("synkora_sign_in_duration_seconds", "What it took to judge a token.", signing_in.durations)
        yield counters(
            "synkora_access_checks",
            "Questions to the app or its database who may join a project, by the answer.",
            "outcome",
            AccessOutcome,
            access.outcomes,
        )
        yield histogram("synkora_access_check_duration_seconds", "What such an answer took.", access.durations)

    def _troubles(self) -> Iterator[Metric]:
        incidents, flusher = self._server.incidents, registry_of(self._server).flusher
        yield histogram("synkora_loop_lag_seconds", "By how much the event loop was late.", self._lag.durations)
        yield counter(
            "synkora_slow_clients_cut_off", "Clients that were cut off since too much waited for them.", flusher.cut_off
        )
        yield counters(
            "synkora_incidents", "What should not happen, by its kind.", "kind", IncidentKind, incidents.totals
        )
        yield counters("synkora_limits_hit", "Limits that were hit.", "limit", Limit, incidents.limits)
        yield counters(
            "synkora_log_entries", "Entries of the log, written or counted.", "level", LOG_LEVELS, self._logged
        )
        yield counter(
            "synkora_log_lines_lost",
            "Lines of the log that were lost, since nobody read them or the disk was full.",
            0 if self._output is None else self._output.lost,
        )


def _redis(cluster: Cluster) -> Iterator[Metric]:
    link = cluster.link
    yield gauge("synkora_redis_up", "Whether this instance is joined to the others.", int(cluster.problem is None))
    if link.round_trip is not None:
        yield gauge("synkora_redis_round_trip_seconds", "What the last heartbeat through Redis took.", link.round_trip)
    yield counter("synkora_redis_published", "Messages that were published.", link.published)
    yield counter("synkora_redis_received", "Messages that came, heartbeats included.", link.received)
    yield counter("synkora_redis_dropped", "Messages that were lost, since Redis was away.", link.dropped)
    yield counter("synkora_redis_reconnects", "Connections to Redis after the first.", link.reconnects)
