"""Runs all checks concurrently."""

import asyncio
import inspect
from collections.abc import Sequence
from typing import Final

from synkora.app.check.configuration import read_configuration
from synkora.app.check.finding import Finding, skipped, wrong
from synkora.app.check.registry import CHECKS, Group
from synkora.app.settings import Settings
from synkora.extras import advice

#: Timeout for a check over the network, in seconds.
PATIENCE: Final = 6.0


async def examine(
    *, host: str | None = None, port: int | None = None, groups: Sequence[Group] = CHECKS
) -> list[Finding]:
    """Return the findings in the order of the checks. `host` and `port` override the settings, as for `synkora serve`.

    A check that fails or times out is a finding too. Never raises because of a finding.
    """
    settings, findings = read_configuration(host=host, port=port)
    if settings is None:
        names = [name for group in groups for name in group.names]
        return [*findings, *(skipped(name, "not checked before the settings can be read") for name in names)]
    for found in await asyncio.gather(*(_run(group, settings) for group in groups)):
        findings += found
    return findings


async def _run(group: Group, settings: Settings) -> list[Finding]:
    first, *rest = group.names
    try:
        async with asyncio.timeout(PATIENCE):
            found = group.run(settings)
            return list(await found if inspect.isawaitable(found) else found)
    except ModuleNotFoundError as error:
        words, _, command = advice("this check", error).partition(": ")
        if not group.is_asked(settings):
            return [skipped(name, words) for name in group.names]
        failure = wrong(first, words, command)
    except TimeoutError:
        failure = wrong(first, f"no answer within {PATIENCE:g} s", "See whether what is asked is overloaded, or frozen")
    except Exception as error:  # noqa: BLE001  # the other checks still matter; the message may hold a secret
        failure = wrong(first, f"the check itself failed: {type(error).__name__}", "Report this: it is a fault of ours")
    return [failure, *(skipped(name, f"not checked, since {first} was not") for name in rest)]
