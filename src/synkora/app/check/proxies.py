"""The proxy in front, if there is one."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final

from synkora.app.check.finding import Finding, risky, skipped, well
from synkora.app.check.origin import is_loopback
from synkora.app.settings import Settings
from synkora.engine.addresses import UNIX

_WIDEST: Final = 8  # bits that networks of one's own have in common: 10.0.0.0/8, fd00::/8


def check_proxies(settings: Settings) -> Iterator[Finding]:
    """Whether those who claim to be proxies are."""
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
