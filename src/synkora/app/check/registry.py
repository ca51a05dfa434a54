"""The registry of checks, in the order of the report."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple

from synkora.app.check.finding import Finding
from synkora.app.check.host import check_backlog, check_files, check_memory, check_user
from synkora.app.check.port import check_port
from synkora.app.check.settings import (
    check_access,
    check_console,
    check_environment,
    check_limits,
    check_metrics,
    check_origins,
    check_previous_secrets,
    check_proxies,
    check_secret,
)
from synkora.app.check.state_folder import check_state_folder
from synkora.app.check.tls import check_tls
from synkora.app.check.versions import check_versions
from synkora.app.check.web_app import check_app
from synkora.app.check.workers import check_workers
from synkora.app.settings import Settings

_Found = Iterable[Finding]


class Group(NamedTuple):
    """Checks that run together. Each name gets at least one finding, in this order."""

    run: Callable[[Settings], _Found | Awaitable[_Found]]
    names: tuple[str, ...]
    is_asked: Callable[[Settings], bool] = lambda _: True  # whether the settings need this check


# Imported at run time: each needs a library of an extra.


def _check_database(settings: Settings) -> Awaitable[_Found]:
    from synkora.app.check.database import check_database

    return check_database(settings)


def _check_kept_sessions(settings: Settings) -> Awaitable[_Found]:
    from synkora.app.check.kept_sessions import check_kept_sessions

    return check_kept_sessions(settings)


def _check_database_outbox(settings: Settings) -> Awaitable[_Found]:
    from synkora.app.check.database_outbox import check_database_outbox

    return check_database_outbox(settings)


def _check_redis(settings: Settings) -> Awaitable[_Found]:
    from synkora.app.check.redis import check_redis

    return check_redis(settings)


def _check_webhooks(settings: Settings) -> Awaitable[_Found]:
    from synkora.app.check.webhooks import check_webhooks

    return check_webhooks(settings)


def _check_traces(settings: Settings) -> Awaitable[_Found]:
    from synkora.app.check.traces import check_traces

    return check_traces(settings)


CHECKS: Final = (
    Group(check_secret, ("secret",)),
    Group(check_previous_secrets, ("previous-secrets",)),
    Group(check_environment, ("environment",)),
    Group(check_origins, ("origins",)),
    Group(check_tls, ("tls",)),
    Group(check_proxies, ("proxies",)),
    Group(check_port, ("port",)),
    Group(check_access, ("access",)),
    Group(check_app, ("app", "app-session", "app-clock")),
    Group(
        _check_database,
        ("database", "database-tables", "database-rights", "database-clock"),
        lambda settings: settings.project_access == "postgres",
    ),
    Group(_check_database_outbox, ("database-outbox",), lambda settings: settings.publish_from == "postgres"),
    Group(_check_webhooks, ("webhooks",), lambda settings: settings.webhook_url is not None),
    Group(_check_kept_sessions, ("kept-sessions",), lambda settings: settings.database_url is not None),
    Group(
        _check_redis,
        ("redis", "redis-rights", "redis-memory", "redis-clock", "redis-failover"),
        lambda settings: settings.redis_url is not None,
    ),
    Group(check_workers, ("workers",)),
    Group(check_state_folder, ("state",)),
    Group(check_limits, ("limits",)),
    Group(check_metrics, ("metrics",)),
    Group(_check_traces, ("traces",)),
    Group(check_console, ("console",)),
    Group(check_files, ("files",)),
    Group(check_memory, ("memory",)),
    Group(check_backlog, ("backlog",)),
    Group(check_user, ("user",)),
    Group(check_versions, ("versions",)),
)
