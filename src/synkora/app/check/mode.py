"""Secrets, and whether they are taken in earnest."""

from collections.abc import Iterator
from typing import Final

from synkora.app.cautions import weakness
from synkora.app.check.finding import Finding, risky, skipped, well, wrong
from synkora.app.check.origin import is_local
from synkora.app.settings import Settings

_SESSIONS: Final = "Take out those whose last session has expired (30 days, unless the app says otherwise)"


def check_secret(settings: Settings) -> Iterator[Finding]:
    """Whether `NEXTAUTH_SECRET` can be guessed."""
    yield _judged("secret", settings.secret_variable, settings.secret.get_secret_value(), settings)


def check_previous_secrets(settings: Settings) -> Iterator[Finding]:
    """Whether one of the secrets that are still taken can be guessed."""
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
    """Whether a server that people reach from elsewhere is still in development."""
    if settings.environment == "production":
        yield well("environment", "production: no weak secret, no playground")
    elif elsewhere := [origin for origin in settings.allowed_origins if not is_local(origin)]:
        yield risky(
            "environment",
            f"SYNKORA_ENV is development, but pages come from elsewhere ({elsewhere[0]}): weak secrets are taken, and "
            "the playground signs in every user of this machine",
            "Set SYNKORA_ENV=production where people work",
        )
    else:
        yield well("environment", "development, for pages of this machine alone")


def _judged(name: str, variable: str, secret: str, settings: Settings) -> Finding:
    why = weakness(secret)
    if why is None:
        return well(name, f"{variable} is long, and not from an example file")
    reason, _, advice = why.partition(": ")
    finding = wrong if settings.environment == "production" else risky
    return finding(name, f"{variable} {reason}", advice[0].upper() + advice[1:])
