"""One instance of Synkora: its parts, and how they start, drain and stop together."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import structlog

from synkora.app.all_instances import AllInstances
from synkora.app.block_sharing import BlockSharing
from synkora.app.logs.incident_log import IncidentLog
from synkora.app.logs.output import Output
from synkora.app.logs.repeated_lines import RepeatedLines
from synkora.app.metrics.loop_lag import LoopLag
from synkora.app.moderation import Moderation
from synkora.app.settings import Settings
from synkora.app.stats import Stats, read_stats
from synkora.collaboration.access import AccessPolicy, OpenAccess
from synkora.collaboration.collaboration import Collaboration
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.collaboration.kept_sessions import SessionLookup
from synkora.collaboration.limits import Limits
from synkora.collaboration.local_presence import LocalPresence
from synkora.collaboration.presence import Presence
from synkora.collaboration.publishing import Publisher
from synkora.collaboration.user_work import JOIN_SIZE, TOLD_JOIN_SIZE
from synkora.engine.close_reasons import Reason
from synkora.engine.connection_limiter import ConnectionLimiter, ConnectionLimits
from synkora.engine.origins import Origins
from synkora.engine.session import Session
from synkora.extras import advice
from synkora.identity.sign_in import Authenticator
from synkora.identity.tokens import Keyring
from synkora.recovery.ports import RecoveryStore
from synkora.recovery.settings import RecoverySettings
from synkora.redis.uid import new_uid
from synkora.sockets.internals import drain_in_groups, registry_of
from synkora.sockets.server import SocketServer
from synkora.tracing import NO_TRACER, Tracer

if TYPE_CHECKING:
    from synkora.app.cluster import Cluster
    from synkora.app.database_outbox import DatabaseOutbox
    from synkora.app.webhooks.sender import WebhookSender
    from synkora.app.workers.worker import Worker
    from synkora.serving.forwarding import ForwardCounts

_NOT_ALLOWED: Final = (
    ": add it to ALLOWED_ORIGINS. If it is the origin of this server's own address, a proxy has replaced Host: have "
    "the proxy send X-Forwarded-Host, and name the proxy in TRUSTED_PROXIES"
)
_SERVER_ERROR: Final = 500
_MAX_SESSIONS: Final = 50_000  # of lost clients, if clients are not limited

log = structlog.get_logger(__name__)


class Status(NamedTuple):
    """`healthy`, `degraded` with the reason, or `shutting down`."""

    word: str
    reason: str | None


class Instance:
    """The Socket.IO server, Synkora's events on it, the cluster, and the counts.

    As an asynchronous context manager the instance joins the cluster, reads the outbox and measures the event loop, and
    leaves the cluster at the end. The server is started before. Other instances know it by its `id`. `repeats` counts
    the log's warnings and errors; `output` writes the log's lines, if the server writes them itself.
    """

    def __init__(
        self,
        server: SocketServer,
        collaboration: Collaboration,
        cluster: "Cluster | None" = None,
        *,
        outbox: "DatabaseOutbox | None" = None,
        webhooks: "WebhookSender | None" = None,
        id: str = "",
        repeats: RepeatedLines | None = None,
        output: Output | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.id = id or new_uid()
        self.server = server
        self.collaboration = collaboration
        self.cluster = cluster
        self.outbox = outbox
        self.webhooks = webhooks
        self.tracer = tracer
        self.instances = AllInstances(self.id, None if cluster is None else cluster.rpc)
        self.moderation = Moderation(self.instances, collaboration)
        self._block_sharing = BlockSharing(self.instances, collaboration)
        if cluster is not None:
            cluster.counters.on_introduction.append(self._block_sharing.expect)
        self.lag = LoopLag()
        self.started_at = time.time()
        self.forwards: ForwardCounts | None = None  # with sessions of other instances
        self._started = time.monotonic()
        self._repeats = repeats or RepeatedLines()
        self._output = output
        self._patterns = IncidentLog(server.incidents)

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        id: str,
        repeats: RepeatedLines | None = None,
        output: Output | None = None,
        worker: "Worker | None" = None,
        tracer: Tracer = NO_TRACER,
    ) -> Self:
        """Build an instance from settings, one of several workers or alone.

        Raises `ValueError` with a line for the operator.
        """
        failures = FailureBackoff(settings.limit_failed_sign_ins)
        policy = access_policy(settings)
        cluster = None
        if settings.redis_url is not None:
            with _asked_for_by("REDIS_URL"):
                from synkora.app.cluster import Cluster
            cluster = Cluster(
                settings.redis_url.get_secret_value(),
                settings.redis_prefix,
                failures,
                id,
                webhooks=settings.webhook_url is not None,
            )
        server = _socket_server(settings, cluster, worker)
        presence, webhooks = _presence(settings, cluster)
        collaboration = _collaboration(settings, server, policy, failures, cluster, presence, tracer)
        return cls(
            server,
            collaboration,
            cluster,
            outbox=_outbox(settings, server, tracer),
            webhooks=webhooks,
            id=id,
            repeats=repeats,
            output=output,
            tracer=tracer,
        )

    async def __aenter__(self) -> Self:
        """Join the cluster."""
        self.lag.__enter__()
        if self.cluster is not None:
            await self.cluster.__aenter__()
            await self._block_sharing.__aenter__()
        if self.outbox is not None:
            await self.outbox.__aenter__()
        if self.webhooks is not None:
            await self.webhooks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the cluster, and log the incidents that have only been counted."""
        if self.webhooks is not None:
            await self.webhooks.__aexit__()
        if self.outbox is not None:
            await self.outbox.__aexit__()
        if self.cluster is not None:
            await self._block_sharing.__aexit__()
            await self.cluster.__aexit__()
        self.lag.__exit__()
        self._patterns.tell()
        self._repeats.tell()

    async def drain(self, seconds: float) -> None:
        """Send the clients to other instances, evenly over `seconds`."""
        log.info("draining", clients=self.collaboration.connections, seconds=seconds)
        drain = self.collaboration.begin_drain()
        await drain_in_groups(self.server, seconds, drain.groups, drain.announce)

    def send_away(self, session: Session) -> None:
        """Let a client reconnect that is connected through another instance, which stops."""
        self.collaboration.announce_leave(session)
        session.drain(Reason.SERVER_SHUTTING_DOWN)

    async def announce_stop(self) -> None:
        """Announce the stop to clients and other instances, and leave the outbox to others. Connections stay open."""
        log.info("stopping", clients=self.collaboration.connections)
        self.collaboration.announce_shutdown()
        if self.cluster is not None:
            await self.cluster.leave(may_return=self.collaboration.projects.awaits_returns)
        await self.collaboration.close()
        if self.outbox is not None:
            await self.outbox.__aexit__()

    async def stop(self, within: float) -> None:
        """Refuse new clients, announce the stop, and close all connections within this many seconds."""
        registry_of(self.server).stop_accepting()
        await self.announce_stop()
        await self.server.close(within)

    @property
    def is_closing(self) -> bool:
        """Whether new clients are refused."""
        return registry_of(self.server).is_closing

    @property
    def problem(self) -> str | None:
        """Why the instance does not work properly: not connected to the others, without its outbox, or not started."""
        unavailable = registry_of(self.server).unavailable
        if unavailable is not None and unavailable[0] >= _SERVER_ERROR:
            return unavailable[1]
        problem = None if self.cluster is None else self.cluster.problem
        if problem is None and self.outbox is not None and self.outbox.problem is not None:
            return "the database outbox cannot be read: the log has the reason"  # which may name hosts and users
        return problem

    @property
    def status(self) -> Status:
        if self.is_closing:
            return Status("shutting down", None)
        problem = self.problem
        return Status("degraded", problem) if problem else Status("healthy", None)

    @property
    def uptime(self) -> float:
        """Seconds since the instance was created."""
        return time.monotonic() - self._started

    def stats(self) -> Stats:
        """The current counts."""
        return read_stats(self.server, self.collaboration, self.cluster, self.webhooks, self.outbox)

    @property
    def logged(self) -> Mapping[str, int]:
        """The number of warnings and errors in the log, by level."""
        return self._repeats.levels

    @property
    def lines_lost(self) -> int:
        """The number of log lines that could not be written."""
        return 0 if self._output is None else self._output.lost


def _socket_server(settings: Settings, cluster: "Cluster | None", worker: "Worker | None") -> SocketServer:
    """Build the Socket.IO server from settings."""
    return SocketServer(
        ping_interval=settings.ping_interval,
        ping_timeout=settings.ping_timeout,
        max_payload=settings.max_payload,
        connect_timeout=settings.connect_timeout,
        upgrade_timeout=settings.upgrade_timeout,
        path=settings.path,
        instance=".".join(filter(None, (settings.instance, "" if cluster is None else cluster.link.uid))),
        transports=settings.transports,
        origins=Origins(settings.allowed_origins, hint=_NOT_ALLOWED),
        proxies=settings.trusted_proxies,
        max_outbox=settings.max_outbox,
        compression=settings.compression,
        compression_threshold=settings.compression_threshold,
        write_interval=settings.write_interval,
        connection_limiter=ConnectionLimiter(
            ConnectionLimits(
                clients=settings.limit_clients,
                connections_per_address=settings.limit_connections_per_address,
                # An address' connections are spread over the workers.
                handshakes_per_address=settings.limit_handshakes_per_address / (worker.seat.count if worker else 1),
            ),
            clients=None if worker is None else worker.clients,
            connections=None if cluster is None else cluster.counters.addresses,
        ),
        adapter=None if cluster is None else cluster.adapter,
        recovery=_recovery(settings, cluster) if settings.recovery else False,
    )


def _outbox(settings: Settings, server: SocketServer, tracer: Tracer) -> "DatabaseOutbox | None":
    """Build the reader of the app's outbox from settings. Raises `ValueError` with a line for the operator."""
    if settings.publish_from == "none" or settings.database_url is None:
        return None
    with _asked_for_by("PUBLISH_FROM=postgres"):
        from synkora.app.database_outbox import DatabaseOutbox
    try:
        url = settings.database_url.get_secret_value()
        return DatabaseOutbox(url, Publisher(server.of("/")), largest=settings.max_payload, tracer=tracer)
    except ValueError as error:
        raise ValueError(f"DATABASE_URL {error}") from None


def _presence(settings: Settings, cluster: "Cluster | None") -> "tuple[Presence, WebhookSender | None]":
    """Build presence from settings, and what tells the app's backend of it."""
    if settings.webhook_url is None:
        return (LocalPresence() if cluster is None else cluster.presence), None
    with _asked_for_by("WEBHOOK_URL"):
        from synkora.app.webhooks.queue import MemoryQueue
        from synkora.app.webhooks.receiver import Receiver
        from synkora.app.webhooks.sender import WebhookSender
    secrets = (secret.get_secret_value() for secret in settings.webhook_secrets)
    receiver = Receiver(settings.webhook_url.get_secret_value(), secrets)
    if cluster is not None:
        return cluster.presence, WebhookSender(cluster.webhook_queue(), receiver)
    queue = MemoryQueue()
    return LocalPresence(queue.add), WebhookSender(queue, receiver)


def _recovery(settings: Settings, cluster: "Cluster | None") -> RecoverySettings | RecoveryStore:
    bounds = RecoverySettings(
        max_age=settings.recovery_log_age,
        room_events=settings.recovery_log_events,
        room_bytes=settings.recovery_log_bytes,
        total_bytes=settings.recovery_total_bytes,
        session_age=settings.recovery_max_away,
        max_sessions=settings.limit_clients or _MAX_SESSIONS,
    )
    if cluster is not None:
        return cluster.keep(bounds)
    if settings.state_dir is None:
        return bounds
    from synkora.recovery.embedded import EmbeddedStore

    return EmbeddedStore(settings.state_dir, bounds)


def _collaboration(
    settings: Settings,
    server: SocketServer,
    policy: AccessPolicy,
    failures: FailureBackoff,
    cluster: "Cluster | None",
    presence: Presence,
    tracer: Tracer,
) -> Collaboration:
    """Add Synkora's events to the server's main namespace."""
    keyring = Keyring(
        settings.secret.get_secret_value(), settings.accepted_secrets, session_cookie=settings.session_cookie
    )
    return Collaboration(
        server.of("/"),
        Authenticator(keyring),
        policy=policy,
        limits=Limits(
            volatile_rate=settings.limit_volatile_rate,
            edit_rate=settings.limit_edit_rate,
            other_rate=settings.limit_other_rate,
            byte_rate=settings.limit_byte_rate,
            user_byte_rate=settings.limit_user_byte_rate,
            join_size=JOIN_SIZE if settings.webhook_url is None else TOLD_JOIN_SIZE,
            projects=settings.limit_projects,
            connections=settings.limit_connections_per_user,
        ),
        failures=failures,
        incidents=server.incidents,
        presence=presence,
        presence_grace=settings.presence_grace,
        log_age=settings.recovery_log_age,
        sessions=_session_store(settings, policy),
        user_connections=None if cluster is None else cluster.counters.users,
        tracer=tracer,
    )


class _MissingExtra(ValueError):
    """A setting needs a library that is not installed."""


@contextmanager
def _asked_for_by(setting: str) -> Iterator[None]:
    """Import a setting's libraries in the block. Raises `ValueError` with the extra to install if one is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise _MissingExtra(advice(setting, error)) from None


def access_policy(settings: Settings) -> AccessPolicy:
    """Build the access policy from settings. Raises `ValueError` with a line for the operator."""
    # Imported only if needed: each imports a client library, which costs start time and memory.
    variable = ""
    try:
        if settings.project_access == "http" and settings.app_url is not None:
            with _asked_for_by("PROJECT_ACCESS=http"):
                from synkora.access.http import HttpAccess
            variable = "APP_URL"
            return HttpAccess(settings.app_url, session_cookie=settings.session_cookie)
        if settings.project_access == "postgres" and settings.database_url is not None:
            with _asked_for_by("PROJECT_ACCESS=postgres"):
                from synkora.access.postgres import PostgresAccess
            variable = "DATABASE_URL"
            return PostgresAccess(settings.database_url.get_secret_value())
    except _MissingExtra:
        raise
    except ValueError as error:
        raise ValueError(f"{variable} {error}") from None
    return OpenAccess()


def _session_store(settings: Settings, policy: AccessPolicy) -> SessionLookup | None:
    """Build the lookup of sessions in the app's database, if DATABASE_URL is set and names PostgreSQL."""
    if settings.database_url is None:
        return None
    with _asked_for_by("DATABASE_URL"):
        from synkora.access.database import Database
        from synkora.access.postgres import PostgresAccess
        from synkora.access.sessions import PostgresSessions
    if isinstance(policy, PostgresAccess):
        return PostgresSessions(policy.database)
    try:
        return PostgresSessions(Database(settings.database_url.get_secret_value()))
    except ValueError:
        return None  # in a file shared with the app, the variable may name another kind of database
