"""Reads a sample: plain numbers that are counted anyway, whoever looks."""

import time

from synkora.app.cluster import Cluster
from synkora.app.console.sampling import Connections, RedisSample, Sample, Waiting
from synkora.app.metrics.loop_lag import LoopLag
from synkora.collaboration.service import Collaboration
from synkora.serving.memory import resident_memory
from synkora.sockets.internals import refused_events, registry_of
from synkora.sockets.server import SocketServer


class Reading:
    """Reads a server's counts, with those of Redis where there is a cluster."""

    def __init__(
        self, server: SocketServer, collaboration: Collaboration, lag: LoopLag, cluster: Cluster | None
    ) -> None:
        self._server = server
        self._collaboration = collaboration
        self._lag = lag
        self._cluster = cluster

    def take(self) -> Sample:
        """A sample of this moment."""
        people, registry, incidents = self._collaboration, registry_of(self._server), self._server.incidents
        flusher, transports = registry.flusher, registry.transports
        events = {name: received.times for name, received in people.received.items() if received.times}
        if people.received_others.times:
            events["other"] = people.received_others.times
        return Sample(
            at=time.time(),
            connections=Connections(transports["websocket"], transports["polling"]),
            signed_in=people.connections,
            users=people.users,
            projects=people.presence.projects,
            events=events,
            refused=refused_events(self._server.of("/")),
            deliveries=flusher.deliveries,
            bytes_in=flusher.bytes_in,
            bytes_out=flusher.bytes_out,
            loop_lag=self._lag.take_worst(),
            cpu=time.process_time(),
            memory=resident_memory(),
            incidents={kind.value: count for kind, count in incidents.totals.items()},
            limits={limit.value: count for limit, count in incidents.limits.items()},
            waiting=Waiting(len(flusher.holding), sum(outbox.waiting_bytes for outbox in flusher.holding)),
            dropped=flusher.dropped,
            cut_off=flusher.cut_off,
            redis=None if self._cluster is None else _redis(self._cluster),
        )


def _redis(cluster: Cluster) -> RedisSample:
    link = cluster.link
    return RedisSample(
        is_up=cluster.problem is None,
        round_trip=link.round_trip,
        published=link.published,
        received=link.received,
        dropped=link.dropped,
        reconnects=link.reconnects,
    )
