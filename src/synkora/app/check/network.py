"""Local addresses, and how far the clocks of Redis, the database and the app may differ."""

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from synkora.app.check.finding import Finding, risky, well, wrong


def is_local(origin: str) -> bool:
    """Whether the origin's pages are on this machine. An origin with an app's own scheme is not local."""
    return origin.startswith(("http:", "https:")) and is_loopback(urlsplit(origin).hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is a loopback one."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


_ODD: Final = 5.0  # seconds: a synchronised clock is never off by as much
_LARGEST: Final = 30.0  # seconds: twice the tolerance for a token's times
_ADVICE: Final = "Have both machines keep their time by NTP: timedatectl set-ntp true"


def judge_clock(check: str, whose: str, theirs: float, before: float, after: float) -> Finding:
    """The finding about the time `theirs`, read between `before` and `after`. All are seconds since 1970."""
    ahead = theirs - min(max(theirs, before), after)
    if abs(ahead) < _ODD:
        return well(check, f"{whose} clock and this machine's agree")
    way = "ahead of" if ahead > 0 else "behind"
    message = f"{whose} clock is {abs(ahead):.0f} s {way} this machine's"
    if abs(ahead) > _LARGEST:
        return wrong(check, f"{message}: valid tokens are rejected as expired or not yet valid", _ADVICE)
    return risky(check, f"{message}; tokens are taken with 15 s of difference", _ADVICE)
