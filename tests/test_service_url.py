import pytest

from synkora.service_url import host_and_port


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("db", ("db", 5)),
        ("db:6", ("db", 6)),
        ("[::1]", ("::1", 5)),
        ("[::1]:65535", ("::1", 65535)),
        ("%2Frun%2Fdb", ("/run/db", 5)),
        ("", ("", 5)),
    ],
)
def test_an_authority_is_a_host_and_a_port(address: str, expected: tuple[str, int]) -> None:
    """IPv6 addresses are in brackets, escapes are decoded, and the port is optional."""
    assert host_and_port(address, 5) == expected


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "\N{SUPERSCRIPT TWO}"])
def test_an_invalid_port_is_refused(port: str) -> None:
    """The message names the most frequent cause: an unescaped password."""
    with pytest.raises(ValueError, match="has a port that is not a number; characters like @"):
        host_and_port(f"db:{port}", 5)
