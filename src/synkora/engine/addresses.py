"""Addresses of clients, behind trusted proxies or not."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from synkora.engine.request import Headers

#: In the list of trusted proxies: the peers of a Unix socket, which have no address.
UNIX: Final = "unix"
_MAPPED: Final = "::ffff:"  # IPv4 in IPv6 (RFC 4291 section 2.5.5.2)
_MAPPED_BITS: Final = 96
_CUSTOMER_BITS: Final = 64  # bits; a customer's IPv6 prefix (RFC 6177): the customer may use any address in it
_MOST_PROXIES: Final = 100  # between a client and the server; what a client has written before is not taken apart
_SECURE: Final = frozenset(("https", "wss"))

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network


class TrustedProxies:
    """The proxies whose headers about a client are trusted: addresses, networks and `unix`. By default there are none.

    Raises `ValueError` for a name that is neither.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        names = tuple(trusted)
        self._unix = UNIX in names
        self._networks = tuple(parse_network(name) for name in names if name != UNIX)
        self.is_empty = not names

    def address(self, peer: str, headers: Headers) -> str:
        """Return the client's address: the peer's, or the entry of trusted proxies in `X-Forwarded-For`.

        Each proxy appends its peer's address. The header is read from its end to the first address that is not a
        trusted proxy: a client may have forged the entries before. An invalid entry ends the search. IPv4 in IPv6 is
        returned as IPv4. `peer` is empty for a Unix socket; the result is empty if no address is known.
        """
        if not self.trusts(peer):
            return _unmapped(peer)
        client = peer
        for entry in reversed(",".join(headers.get_all("x-forwarded-for")).rsplit(",", _MOST_PROXIES)):
            address = parse_address(entry)
            if address is None:
                break
            client = str(address)
            if not self._includes(address):
                break
        return _unmapped(client)

    def secure(self, peer: str, headers: Headers, *, over_tls: bool) -> bool:
        """Whether the client uses TLS, to this server or, by the last `X-Forwarded-Proto`, to a trusted proxy."""
        if over_tls or not self.trusts(peer):
            return over_tls
        last = ",".join(headers.get_all("x-forwarded-proto")).rpartition(",")[2]
        return last.strip().lower() in _SECURE

    def trusts(self, peer: str) -> bool:
        """Whether a peer is a trusted proxy."""
        if self.is_empty:
            return False
        if not peer:
            return self._unix
        address = parse_address(peer)
        return address is not None and self._includes(address)

    def _includes(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def parse_network(name: str) -> _Network:
    """Return the network, or the network of a single address, that `name` denotes. Raises `ValueError`."""
    network = ip_network(name, strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((int(mapped), network.prefixlen - _MAPPED_BITS))


def parse_address(text: str) -> _Address | None:
    """Return the address in a proxy's header: with or without port and brackets; None if it is not an address."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _is_port(port.removeprefix(":"))):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(port):
            return None
    try:
        address = ip_address(text.partition("%")[0])  # the rest is the zone, an interface of the writer
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def rate_limit_key(address: str) -> str:
    """Return the key for limits per address: the address, or the /64 of an IPv6 address."""
    if ":" not in address:
        return address
    parsed = parse_address(address)
    if not isinstance(parsed, IPv6Address):
        return address if parsed is None else str(parsed)
    return str(IPv6Network((int(parsed) >> _CUSTOMER_BITS << _CUSTOMER_BITS, 128 - _CUSTOMER_BITS)))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5


def _unmapped(address: str) -> str:
    if not address.lower().startswith(_MAPPED):
        return address
    parsed = parse_address(address)
    return address if parsed is None else str(parsed)
