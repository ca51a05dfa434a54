"""One instance of Synkora: its parts, and how they start, drain and stop together."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import structlog

from synkora.app.all_instances import AllInstances
from synkora.app.logs.incident_log import IncidentLog
from synkora.app.logs.output import Output
from synkora.app.logs.repeated_lines import RepeatedLines
from synkora.app.metrics.loop_lag import LoopLag
from synkora.app.settings import Settings
from synkora.app.stats import Stats, read_stats
from synkora.collaboration.access import AccessPolicy, OpenAccess
from synkora.collaboration.collaboration import Collaboration
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.collaboration.kept_sessions import SessionLookup
from synkora.collaboration.limits import Limits
from synkora.engine.connection_limiter import ConnectionLimiter, ConnectionLimits
from synkora.engine.origins import Origins
from synkora.extras import advice
from synkora.identity.sign_in import Authenticator
from synkora.identity.tokens import Keyring
from synkora.recovery.ports import RecoveryStore
from synkora.recovery.settings import RecoverySettings
from synkora.redis.uid import new_uid
from synkora.sockets.internals import drain_in_groups, registry_of
from synkora.sockets.server import SocketServer

if TYPE_CHECKING:
    from synkora.app.cluster import Cluster

_NOT_ALLOWED: Final = (
    ": add it to ALLOWED_ORIGINS. If it is the origin of this server's own address, a proxy has replaced Host: have "
    "the proxy send X-Forwarded-Host, and name the proxy in TRUSTED_PROXIES"
)
_SERVER_ERROR: Final = 500
_MAX_SESSIONS: Final = 50_000  # lost ones, without a limit on clients

log = structlog.get_logger(__name__)


class Status(NamedTuple):
    """`healthy`, `degraded` with the reason, or `shutting down`."""

    word: str
    reason: str | None


class Instance:
    """The Socket.IO server, Synkora's events on it, the cluster, and what is counted.

    As an asynchronous context manager it joins the other instances and measures the event loop, and leaves them at the
    end. The other instances know it by its `id`. `repeats` counts the log's warnings and errors; `output` is where the
    log's lines go, if the server itself writes them.
    """

    def __init__(
        self,
        server: SocketServer,
        collaboration: Collaboration,
        cluster: "Cluster | None" = None,
        *,
        id: str = "",
        repeats: RepeatedLines | None = None,
        output: Output | None = None,
    ) -> None:
        self.id = id or new_uid()
        self.server = server
        self.collaboration = collaboration
        self.cluster = cluster
        self.instances = AllInstances(self.id, None if cluster is None else cluster.rpc)
        self.lag = LoopLag()
        self.started_at = time.time()
        self._started = time.monotonic()
        self._repeats = repeats or RepeatedLines()
        self._output = output
        self._patterns = IncidentLog(server.incidents)

    @classmethod
    def from_settings(
        cls, settings: Settings, *, id: str, repeats: RepeatedLines | None = None, output: Output | None = None
    ) -> Self:
        """What the settings describe. Raises `ValueError` with a line for the operator."""
        failures = FailureBackoff(settings.limit_failed_sign_ins)
        policy = access_policy(settings)
        cluster = None
        if settings.redis_url is not None:
            with _asked_for_by("REDIS_URL"):
                from synkora.app.cluster import Cluster
            cluster = Cluster(settings.redis_url.get_secret_value(), settings.redis_prefix, failures, id)
        server = _socket_server(settings, cluster)
        collaboration = _collaboration(settings, server, policy, failures, cluster)
        return cls(server, collaboration, cluster, id=id, repeats=repeats, output=output)

    async def __aenter__(self) -> Self:
        """Join the other instances."""
        self.lag.__enter__()
        if self.cluster is not None:
            await self.cluster.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the other instances, and log what has only been counted so far."""
        if self.cluster is not None:
            await self.cluster.__aexit__(kind, error, trace)
        self.lag.__exit__(kind, error, trace)
        self._patterns.tell()
        self._repeats.tell()

    async def drain(self, seconds: float) -> None:
        """Send the clients to other instances, evenly over so many seconds."""
        log.info("draining", clients=self.collaboration.connections, seconds=seconds)
        drain = self.collaboration.begin_drain()
        await drain_in_groups(self.server, seconds, drain.groups, drain.announce)

    async def announce_stop(self) -> None:
        """Tell the clients and the other instances that this one stops; connections go on."""
        log.info("stopping", clients=self.collaboration.connections)
        self.collaboration.announce_shutdown()
        if self.cluster is not None:
            await self.cluster.leave(may_return=self.collaboration.projects.awaits_returns)
        await self.collaboration.close()

    async def stop(self, within: float) -> None:
        """Take no new clients, announce the stop, and end all connections within so many seconds."""
        registry_of(self.server).stop_accepting()
        await self.announce_stop()
        await self.server.close(within)

    @property
    def is_closing(self) -> bool:
        """Whether it takes no new clients any more."""
        return registry_of(self.server).is_closing

    @property
    def problem(self) -> str | None:
        """Why it does not serve as it should: it is not joined to the other instances, or not started."""
        unavailable = registry_of(self.server).unavailable
        if unavailable is not None and unavailable[0] >= _SERVER_ERROR:
            return unavailable[1]
        return None if self.cluster is None else self.cluster.problem

    @property
    def status(self) -> Status:
        """How it is, in one word."""
        if self.is_closing:
            return Status("shutting down", None)
        problem = self.problem
        return Status("degraded", problem) if problem else Status("healthy", None)

    @property
    def uptime(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._started

    def stats(self) -> Stats:
        """The counts of this moment."""
        return read_stats(self.server, self.collaboration, self.cluster)

    @property
    def logged(self) -> Mapping[str, int]:
        """The log's warnings and errors so far, by their level."""
        return self._repeats.levels

    @property
    def lines_lost(self) -> int:
        """Lines of the log that could not be written."""
        return 0 if self._output is None else self._output.lost


def _socket_server(settings: Settings, cluster: "Cluster | None") -> SocketServer:
    """The Socket.IO server that the settings describe."""
    return SocketServer(
        ping_interval=settings.ping_interval,
        ping_timeout=settings.ping_timeout,
        max_payload=settings.max_payload,
        connect_timeout=settings.connect_timeout,
        upgrade_timeout=settings.upgrade_timeout,
        path=settings.path,
        instance=settings.instance,
        transports=settings.transports,
        origins=Origins(settings.allowed_origins, hint=_NOT_ALLOWED),
        proxies=settings.trusted_proxies,
        max_outbox=settings.max_outbox,
        compression=settings.compression,
        compression_threshold=settings.compression_threshold,
        connection_limiter=ConnectionLimiter(
            ConnectionLimits(
                clients=settings.limit_clients,
                connections_per_address=settings.limit_connections_per_address,
                handshakes_per_address=settings.limit_handshakes_per_address,
            ),
            connections=None if cluster is None else cluster.counters.addresses,
        ),
        adapter=None if cluster is None else cluster.adapter,
        recovery=_recovery(settings, cluster) if settings.recovery else False,
    )


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
    settings: Settings, server: SocketServer, policy: AccessPolicy, failures: FailureBackoff, cluster: "Cluster | None"
) -> Collaboration:
    """Synkora's events on that server's main namespace."""
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
            projects=settings.limit_projects,
            connections=settings.limit_connections_per_user,
        ),
        failures=failures,
        incidents=server.incidents,
        presence=None if cluster is None else cluster.presence,
        presence_grace=settings.presence_grace,
        sessions=_session_store(settings, policy),
        user_connections=None if cluster is None else cluster.counters.users,
    )


class _MissingExtra(ValueError):
    """A setting needs a library that is not installed."""


@contextmanager
def _asked_for_by(setting: str) -> Iterator[None]:
    """Import what a setting needs. Raises `ValueError` with the extra to install, where it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise _MissingExtra(advice(setting, error)) from None


def access_policy(settings: Settings) -> AccessPolicy:
    """Whom to ask who may join what. Raises `ValueError` with a line for who set it."""
    # Imported where they are needed: each brings a client library, whose import costs the start time and memory.
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
    """Where to look up sessions that the app keeps in its database, if it is known and PostgreSQL."""
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
        return None  # it is the app's own affair, in a file that is shared with it
