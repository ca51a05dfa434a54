"""What an origin of `ALLOWED_ORIGINS` says of where its pages are."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_local(origin: str) -> bool:
    """Whether its pages are on this machine, rather than in an app with a scheme of its own."""
    return origin.startswith(("http:", "https:")) and is_loopback(urlsplit(origin).hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine to itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
