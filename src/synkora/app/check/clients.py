"""Who may connect, how much they may send, and what strangers may read."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from synkora.app.check.finding import Finding, risky, well
from synkora.app.check.origin import is_local, is_loopback
from synkora.app.settings import Settings
from synkora.engine.origins import OPAQUE_ORIGINS


def check_origins(settings: Settings) -> Iterable[Finding]:
    """Whether `ALLOWED_ORIGINS` lets in more pages than it should."""
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
            advice = "Name the address that people open the app by, and take this one out, if no installed app has it"
        elif in_earnest and origin.startswith("http://"):
            message = f"{origin}: without TLS, an attacker on the network can read and change pages and sessions"
            advice = "Serve the app by https, and write https:// here"
        else:
            continue
        findings.append(risky("origins", message, advice))
    return findings or [well("origins", f"only pages of {', '.join(settings.allowed_origins)} may connect")]


def check_limits(settings: Settings) -> Iterator[Finding]:
    """Whether a limit is off."""
    off = [
        str(field.validation_alias)
        for name, field in Settings.model_fields.items()
        if name.startswith("limit_") and getattr(settings, name) == 0
    ]
    if off:
        yield risky("limits", f"0 is no limit: {', '.join(off)}", "Write what people need, or leave it out")
    else:
        yield well("limits", "each is on")


def check_metrics(settings: Settings) -> Iterator[Finding]:
    """Whether strangers may read `/metrics`."""
    if settings.metrics_token is not None:
        yield well("metrics", "/metrics takes the token of METRICS_TOKEN")
    elif is_loopback(settings.host):
        yield well("metrics", "/metrics is for programs of this machine, as WS_HOST says")
    elif settings.environment == "development":
        yield well("metrics", "everyone who can reach the port may read /metrics, which is fine for development")
    else:
        yield risky(
            "metrics",
            "everyone who can reach the port may read /metrics: METRICS_TOKEN is not set",
            "Set METRICS_TOKEN; or WS_HOST=127.0.0.1, behind a proxy that hands on /socket.io/ alone",
        )


def check_console(settings: Settings) -> Iterator[Finding]:
    """Whether strangers may try to open `/console`, or the Admin UI."""
    in_earnest = settings.environment == "production"
    if settings.admin_ui:
        yield risky(
            "console",
            "Socket.IO's Admin UI may sign in wherever /socket.io/ is reached: ADMIN_UI is true",
            "Leave ADMIN_UI out while nobody uses it: /console shows more, and stays behind the proxy",
        )
    elif settings.console_token is None:
        nobody = "there is no /console" if in_earnest else "/console is for this machine alone"
        yield well("console", f"{nobody}: CONSOLE_TOKEN is not set")
    elif in_earnest and not is_loopback(settings.host) and settings.ssl_certfile is None:
        yield risky(
            "console",
            "everyone who can reach the port may try tokens on /console, and tokens cross the network without TLS",
            "Set WS_HOST=127.0.0.1, behind a proxy that hands on /socket.io/ alone, and open /console by ssh -L",
        )
    else:
        yield well("console", "/console takes the token of CONSOLE_TOKEN")
