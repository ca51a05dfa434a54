"""Checks that need only the settings: secrets, environment, access, origins, limits, metrics, console, proxies."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

from synkora.app.check.finding import Finding, risky, skipped, well, wrong
from synkora.app.check.network import is_local, is_loopback
from synkora.app.settings import Settings
from synkora.app.settings.warnings import weakness
from synkora.engine.addresses import UNIX
from synkora.engine.origins import OPAQUE_ORIGINS

_SESSIONS: Final = "Remove secrets whose last session has expired (30 days, unless the app says otherwise)"


def check_secret(settings: Settings) -> Iterator[Finding]:
    """Check that `NEXTAUTH_SECRET` is hard to guess."""
    yield _judged("secret", settings.secret_variable, settings.secret.get_secret_value(), settings)


def check_previous_secrets(settings: Settings) -> Iterator[Finding]:
    """Check that the former secrets, which are still accepted, are hard to guess."""
    name, variable = "previous-secrets", "NEXTAUTH_SECRET_PREVIOUS"
    secrets = [secret.get_secret_value() for secret in settings.previous_secrets]
    if not secrets:
        yield skipped(name, f"{variable} is not set")
    elif settings.secret.get_secret_value() in secrets:
        yield risky(name, f"{variable} has the present secret too", "Put only former secrets there")
    else:
        weak = next(filter(weakness, secrets), None)
        if weak is not None:
            yield _judged(name, variable, weak, settings)
        else:
            yield well(name, f"{len(secrets)} still taken. {_SESSIONS}")


def check_environment(settings: Settings) -> Iterator[Finding]:
    """Check that a server for remote users is in production mode."""
    if settings.environment == "production":
        yield well("environment", "production: no weak secret, no playground")
    elif elsewhere := [origin for origin in settings.allowed_origins if not is_local(origin)]:
        yield risky(
            "environment",
            f"SYNKORA_ENV is development, but pages come from elsewhere ({elsewhere[0]}): weak secrets are accepted, "
            "and the playground signs in every user of this machine",
            "Set SYNKORA_ENV=production where users work",
        )
    else:
        yield well("environment", "development, only for pages of this machine")


def _judged(name: str, variable: str, secret: str, settings: Settings) -> Finding:
    why = weakness(secret)
    if why is None:
        return well(name, f"{variable} is long, and not from an example file")
    reason, _, advice = why.partition(": ")
    finding = wrong if settings.environment == "production" else risky
    return finding(name, f"{variable} {reason}", advice[0].upper() + advice[1:])


def check_access(settings: Settings) -> Iterator[Finding]:
    """Check that an access policy restricts joins."""
    if settings.project_access != "open":
        authority = "the web app" if settings.project_access == "http" else "the web app's database"
        yield well("access", f"{authority} says who may join a project")
    elif settings.environment == "production":
        yield risky(
            "access",
            "PROJECT_ACCESS is open: everyone signed in may join every project, and edit there",
            "Set PROJECT_ACCESS=postgres with DATABASE_URL, or PROJECT_ACCESS=http with APP_URL",
        )
    else:
        yield well("access", "PROJECT_ACCESS is open, which will do for development")


def check_origins(settings: Settings) -> Iterable[Finding]:
    """Check that `ALLOWED_ORIGINS` is not too wide."""
    in_earnest = settings.environment == "production"
    findings: list[Finding] = []
    for origin in settings.allowed_origins:
        host = urlsplit(origin).hostname or ""
        if origin == "*":
            message, advice = "*: every page of the web may connect", "Name the origins of the app's pages"
        elif origin in OPAQUE_ORIGINS:
            message = f"{origin}: any page can have this origin, such as one in a file or in a sandboxed frame"
            advice = "Its users have to sign in by a token: cookies of such pages never count"
        elif host.startswith("*.") and "." not in host.removeprefix("*."):
            message, advice = f"{origin} has all sites of a whole domain of the web", "Name a domain of your own"
        elif in_earnest and is_local(origin):
            message = f"{origin}: in production a page on a visitor's own machine may connect"
            advice = "Name the address that users open the app by, and take this one out, if no installed app has it"
        elif in_earnest and origin.startswith("http://"):
            message = f"{origin}: without TLS, an attacker on the network can read and change pages and sessions"
            advice = "Serve the app by https, and write https:// here"
        else:
            continue
        findings.append(risky("origins", message, advice))
    return findings or [well("origins", f"only pages of {', '.join(settings.allowed_origins)} may connect")]


def check_limits(settings: Settings) -> Iterator[Finding]:
    """Check that no limit is off."""
    off = [
        str(field.validation_alias)
        for name, field in Settings.model_fields.items()
        if name.startswith("limit_") and getattr(settings, name) == 0
    ]
    if off:
        yield risky("limits", f"0 is no limit: {', '.join(off)}", "Write what users need, or leave it out")
    else:
        yield well("limits", "each is on")


def check_metrics(settings: Settings) -> Iterator[Finding]:
    """Check that `/metrics` is not public."""
    if settings.metrics_token is not None:
        yield well("metrics", "/metrics needs the token of METRICS_TOKEN")
    elif is_loopback(settings.host):
        yield well("metrics", "/metrics is for programs of this machine, as WS_HOST says")
    elif settings.environment == "development":
        yield well("metrics", "everyone who can reach the port may read /metrics, which is fine for development")
    else:
        yield risky(
            "metrics",
            "everyone who can reach the port may read /metrics: METRICS_TOKEN is not set",
            "Set METRICS_TOKEN; or WS_HOST=127.0.0.1, behind a proxy that passes on only /socket.io/",
        )


def check_console(settings: Settings) -> Iterator[Finding]:
    """Check that `/console` and the Admin UI are not reachable by strangers."""
    in_earnest = settings.environment == "production"
    if settings.admin_ui:
        yield risky(
            "console",
            "Socket.IO's Admin UI may sign in wherever /socket.io/ is reached: ADMIN_UI is true",
            "Leave ADMIN_UI out while nobody uses it: /console shows more, and stays behind the proxy",
        )
    elif settings.console_token is None:
        state = "there is no /console" if in_earnest else "only this machine may open /console"
        yield well("console", f"{state}: CONSOLE_TOKEN is not set")
    elif in_earnest and not is_loopback(settings.host) and settings.ssl_certfile is None:
        yield risky(
            "console",
            "everyone who can reach the port may try tokens on /console, and tokens cross the network without TLS",
            "Set WS_HOST=127.0.0.1, behind a proxy that passes on only /socket.io/, and open /console by ssh -L",
        )
    else:
        yield well("console", "/console needs the token of CONSOLE_TOKEN")


_WIDEST: Final = 8  # prefix length of the largest private networks: 10.0.0.0/8, fd00::/8


def check_proxies(settings: Settings) -> Iterator[Finding]:
    """Check that TRUSTED_PROXIES fits the address that the server listens on."""
    name = "proxies"
    proxies = settings.trusted_proxies
    wide = [proxy for proxy in proxies if proxy != UNIX and _is_wide(proxy)]
    local = [proxy for proxy in proxies if proxy == UNIX or is_loopback(proxy.partition("/")[0])]
    if wide:
        yield risky(
            name,
            f"TRUSTED_PROXIES has {wide[0]}: clients in it may claim any address, and so pass every limit of one",
            "Name the proxy's own address, as this server sees it",
        )
    elif proxies and len(local) == len(proxies) and not is_loopback(settings.host):
        yield risky(
            name,
            f"the proxy is on this machine, but clients reach port {settings.port} past it: WS_HOST is "
            f"{settings.host or 'not set'}",
            "Set WS_HOST=127.0.0.1",
        )
    elif proxies:
        yield well(name, f"{', '.join(proxies)} may state a client's address")
    elif settings.environment == "production" and is_loopback(settings.host):
        yield risky(
            name,
            f"clients come through a proxy, as WS_HOST is {settings.host}; but TRUSTED_PROXIES is not set, and they "
            "all seem to have the proxy's address, and share the limits of one",
            "Set TRUSTED_PROXIES=127.0.0.1, and have the proxy send X-Forwarded-For and X-Forwarded-Proto",
        )
    else:
        yield skipped(name, "TRUSTED_PROXIES is not set: clients are who they connect as")


def _is_wide(proxy: str) -> bool:
    return ip_network(proxy).prefixlen < _WIDEST
