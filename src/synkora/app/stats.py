"""An instance's counts: one read model for health, metrics, the console and the Admin UI."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING

import msgspec

from synkora.collaboration.access_answers import AccessOutcome
from synkora.collaboration.authentication import SignInOutcome
from synkora.collaboration.collaboration import Collaboration
from synkora.engine.histogram import Histogram
from synkora.engine.incidents import IncidentKind, Limit
from synkora.sockets.internals import adapter_of, recovery_of, refused_events, registry_of
from synkora.sockets.server import SocketServer
from synkora.sockets.socket_recovery import RecoveryOutcome

if TYPE_CHECKING:
    from synkora.app.cluster import Cluster
    from synkora.app.database_outbox import DatabaseOutbox
    from synkora.app.webhooks.sender import WebhookSender

#: The name for counted events that are not in the catalogue.
OTHER_EVENTS = "other"


class RedisStats(msgspec.Struct, rename="camel"):
    """The link to Redis: `round_trip` is in seconds, the last four are totals."""

    is_up: bool
    round_trip: float | None
    published: int
    received: int
    dropped: int
    reconnects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryStats:
    """Clients that returned since the start, their replays, and the bytes of kept events now.

    Over Redis the bytes are of events that wait for Redis. `lost` counts the events that Redis never took, and `gaps`
    how often this instance missed events of others.
    """

    outcomes: Mapping[RecoveryOutcome, int]
    replays: Histogram  # events
    replayed_bytes: int
    kept_bytes: int
    lost: int
    gaps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookStats:
    """Events for the app's backend: totals, `failed` of attempts; and those that wait now, the oldest in seconds."""

    sent: int
    failed: int
    dropped: int
    waiting: int
    oldest_age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStats:
    """The database outbox: totals, and if this instance reads it, the rows that wait now, the oldest in seconds."""

    published: int
    set_aside: Mapping[str, int]  # by reason
    failures: int  # of the database
    is_reader: bool
    waiting: int
    oldest_age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """An instance at one moment: current values, and totals since its start.

    The mappings and histograms are the server's live ones: read them immediately.
    """

    # Now
    sessions: int
    transports: Mapping[str, int]  # sessions
    namespaces: Mapping[str, int]  # sockets
    signed_in: int
    users: int
    projects: int
    waiting_clients: int
    waiting_bytes: int
    # Totals
    opened: Mapping[str, int]  # sessions by their first transport
    disconnects: Mapping[str, int]  # by reason
    joins: int
    events: Mapping[str, int]
    refused: int  # events
    deliveries: int
    dropped: int  # volatile messages
    cut_off: int  # slow consumers
    bytes_in: int
    bytes_out: int
    sign_ins: Mapping[SignInOutcome, int]
    access_checks: Mapping[AccessOutcome, int]
    incidents: Mapping[IncidentKind, int]
    limits: Mapping[Limit, int]
    redis: RedisStats | None  # None without a cluster
    recovery: RecoveryStats | None  # None without recovery
    webhooks: WebhookStats | None  # None without webhooks
    outbox: OutboxStats | None  # None without a database outbox
    # Durations
    turns: Histogram
    sign_in_durations: Histogram
    access_check_durations: Histogram


def read_stats(
    server: SocketServer,
    collaboration: Collaboration,
    cluster: "Cluster | None",
    webhooks: "WebhookSender | None" = None,
    outbox: "DatabaseOutbox | None" = None,
) -> Stats:
    """Read the current counts."""
    registry, incidents = registry_of(server), server.incidents
    flusher = registry.flusher
    authentication, access = collaboration.authentication, collaboration.access
    events = {name: received.times for name, received in collaboration.received.items()}
    return Stats(
        sessions=len(registry),
        transports={name: registry.transports[name] for name in server.settings.transports},
        namespaces={name: len(adapter_of(namespace).rooms.members) for name, namespace in server.namespaces.items()},
        signed_in=collaboration.connections,
        users=collaboration.users,
        projects=collaboration.presence.project_count,
        waiting_clients=len(flusher.backlogged),
        waiting_bytes=sum(outbox.waiting_bytes for outbox in flusher.backlogged),
        opened=registry.opened,
        disconnects=collaboration.disconnects,
        joins=collaboration.projects.joins,
        events=events | {OTHER_EVENTS: collaboration.received_others.times},
        refused=refused_events(server.of("/")),
        deliveries=flusher.deliveries,
        dropped=flusher.dropped,
        cut_off=flusher.cut_off,
        bytes_in=flusher.bytes_in,
        bytes_out=flusher.bytes_out,
        sign_ins=authentication.outcomes,
        access_checks=access.outcomes,
        incidents=incidents.totals,
        limits=incidents.limits,
        redis=None if cluster is None else _redis_stats(cluster),
        recovery=_recovery_stats(server, cluster),
        webhooks=None if webhooks is None else _webhook_stats(webhooks),
        outbox=None if outbox is None else _outbox_stats(outbox),
        turns=flusher.turns,
        sign_in_durations=authentication.durations,
        access_check_durations=access.durations,
    )


def _recovery_stats(server: SocketServer, cluster: "Cluster | None") -> RecoveryStats | None:
    recovery = recovery_of(server.of("/"))
    if recovery is None:
        return None
    store = None if cluster is None else cluster.store
    return RecoveryStats(
        outcomes=recovery.outcomes,
        replays=recovery.replays,
        replayed_bytes=recovery.replayed_bytes,
        kept_bytes=recovery.log.kept_bytes,
        lost=0 if store is None else store.lost,
        gaps=0 if store is None else store.gaps,
    )


def _webhook_stats(webhooks: "WebhookSender") -> WebhookStats:
    queue = webhooks.queue
    return WebhookStats(
        sent=webhooks.sent,
        failed=webhooks.failed,
        dropped=webhooks.dropped,
        waiting=queue.waiting,
        oldest_age=0.0 if queue.oldest is None else max(time() - queue.oldest / 1000, 0.0),
    )


def _outbox_stats(outbox: "DatabaseOutbox") -> OutboxStats:
    return OutboxStats(
        published=outbox.published,
        set_aside=outbox.set_aside,
        failures=outbox.failures,
        is_reader=outbox.is_reader,
        waiting=outbox.waiting,
        oldest_age=outbox.oldest_age,
    )


def _redis_stats(cluster: "Cluster") -> RedisStats:
    link = cluster.link
    return RedisStats(
        is_up=cluster.problem is None,
        round_trip=link.round_trip,
        published=link.published,
        received=link.received,
        dropped=link.dropped,
        reconnects=link.reconnects,
    )
