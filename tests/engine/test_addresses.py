"""Client addresses: headers of trusted proxies count, headers of other peers do not."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synkora.engine.addresses import TrustedProxies, parse_address, parse_network
from synkora.engine.request import Headers

TRUSTED = TrustedProxies(["10.0.0.0/8", "fd00::/8", "192.0.2.7", "unix"])
NOBODY = TrustedProxies()

inside = st.one_of(
    st.integers(0, 2**24 - 1).map(lambda n: str(IPv4Address(0x0A000000 + n))),
    st.integers(0, 2**64).map(lambda n: str(IPv6Address((0xFD << 120) + n))),
)
outside = st.ip_addresses().map(str).filter(lambda address: not TRUSTED.trusts(address))
written = st.sampled_from(["{}", " {} ", "{}:4711", "[{}]", "[{}]:4711", '"{}"'])


def forwarded(*values: str, name: str = "x-forwarded-for") -> Headers:
    return Headers((name.encode(), value.encode("latin-1")) for value in values)


def as_written(address: str, form: str) -> str:
    """An address in one of the notations of proxies. With a port, only IPv6 needs brackets."""
    if ":" in address:
        return form.format(address) if "[" in form or ":4711" not in form else f"[{address}]:4711"
    return form.replace("[", "").replace("]", "").format(address)


@given(peer=outside, header=st.text(st.characters(codec="latin-1", exclude_characters="\n\r")))
def test_an_untrusted_peer_cannot_forge_an_address(peer: str, header: str) -> None:
    headers = Headers([(b"x-forwarded-for", header.encode("latin-1")), (b"x-forwarded-proto", b"https")])
    expected = str(parse_address(peer))
    assert TRUSTED.address(peer, headers) == expected
    assert NOBODY.address(peer, headers) == expected
    assert not TRUSTED.secure(peer, headers, over_tls=False)


@given(
    peer=inside,
    lies=st.lists(st.text(st.characters(codec="latin-1", exclude_characters="\n\r"), max_size=20), max_size=4),
    client=outside,
    hops=st.lists(inside, max_size=3),
    form=written,
)
def test_forged_entries_before_the_address_are_ignored(
    peer: str, lies: list[str], client: str, hops: list[str], form: str
) -> None:
    """Behind any number of trusted proxies, the address is the last untrusted one, in any notation."""
    entries = [*lies, *(as_written(address, form) for address in (client, *hops))]
    assert TRUSTED.address(peer, forwarded(", ".join(entries))) == str(parse_address(client))


@given(peer=inside, hops=st.lists(inside, min_size=1, max_size=4))
def test_a_client_that_is_a_trusted_proxy_itself(peer: str, hops: list[str]) -> None:
    assert TRUSTED.address(peer, forwarded(",".join(hops))) == str(ip_address(hops[0]))


@given(address=st.ip_addresses().map(str), form=written)
def test_every_form_is_read(address: str, form: str) -> None:
    """With ports, brackets, quotes and blanks."""
    expected = ip_address(address)
    mapped = expected.ipv4_mapped if isinstance(expected, IPv6Address) else None
    assert parse_address(as_written(address, form)) == (mapped or expected)


@given(st.text())
def test_any_text_is_an_address_or_none(text: str) -> None:
    address = parse_address(text)
    assert address is None or parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("peer", "header", "expected"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.9, 10.9.9.9", "203.0.113.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, nonsense, 10.9.9.9", "10.9.9.9"),
        ("10.0.0.1", "203.0.113.9,", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9:123456", "10.0.0.1"),
        ("10.0.0.1", "[2001:db8::1", "10.0.0.1"),
        ("10.0.0.1", "2001:db8::1%an-interface-of-any-name", "2001:db8::1"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "0:0:0:0:0:ffff:cb00:7109", "203.0.113.9"),
        ("192.0.2.7", "2001:DB8:0:0::1", "2001:db8::1"),
        ("192.0.2.8", "203.0.113.9", "192.0.2.8"),
        ("::ffff:192.0.2.8", "203.0.113.9", "192.0.2.8"),
        ("fe80::1%eth0", "203.0.113.9", "fe80::1%eth0"),
        ("", "203.0.113.9", "203.0.113.9"),
        ("", "", ""),
    ],
)
def test_addresses(peer: str, header: str, expected: str) -> None:
    """The header is read from its end, up to an invalid entry."""
    assert TRUSTED.address(peer, forwarded(header)) == expected


def test_several_headers_are_one_list() -> None:
    """A proxy may add a header instead of extending the existing one (RFC 9110 section 5.3)."""
    assert TRUSTED.address("10.0.0.1", forwarded("198.51.100.1", "203.0.113.9", "10.0.0.2")) == "203.0.113.9"


def test_a_unix_socket_is_trusted_when_it_is_named() -> None:
    """Without `unix` among the proxies, its clients have no address."""
    assert TrustedProxies(["10.0.0.0/8"]).address("", forwarded("203.0.113.9")) == ""


@pytest.mark.parametrize(
    ("peer", "values", "expected"),
    [
        ("10.0.0.1", ["https"], True),
        ("10.0.0.1", [" HTTPS "], True),
        ("10.0.0.1", ["wss"], True),
        ("10.0.0.1", ["http"], False),
        ("10.0.0.1", [], False),
        ("10.0.0.1", ["https, http"], False),
        ("10.0.0.1", ["http", "https"], True),
        ("", ["https"], True),
        ("192.0.2.8", ["https"], False),
    ],
)
def test_tls_before_a_proxy(peer: str, values: list[str], expected: bool) -> None:
    """The last entry of a trusted proxy says whether its client used TLS."""
    assert TRUSTED.secure(peer, forwarded(*values, name="x-forwarded-proto"), over_tls=False) is expected


def test_tls_of_the_connection_itself() -> None:
    """A connection over TLS is secure, whatever the headers."""
    headers = forwarded("http", name="x-forwarded-proto")
    assert TRUSTED.secure("192.0.2.8", headers, over_tls=True)
    assert NOBODY.secure("10.0.0.1", headers, over_tls=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("10.0.0.7", "10.0.0.7/32"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.7", "10.0.0.7/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/64", "::/64"),
    ],
)
def test_networks(name: str, expected: str) -> None:
    """By address or network. IPv4 within IPv6 is IPv4."""
    assert str(parse_network(name)) == expected


@pytest.mark.parametrize("name", ["", "localhost", "10.0.0.0/33", "10.0.0", "*", "::ffff:10.0.0.7/x"])
def test_an_invalid_network(name: str) -> None:
    """It is refused at the start, and not at the first connect."""
    with pytest.raises(ValueError, match=r".*"):
        TrustedProxies([name])
