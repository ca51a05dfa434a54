"""What an origin says of where its pages are."""

import pytest

from synkora.app.check.origin import is_local, is_loopback


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "https://app.localhost", "http://127.0.0.9", "http://[::1]:1"]
)
def test_local_ones(origin: str) -> None:
    """Names and addresses of this machine to itself, on any port."""
    assert is_local(origin)


@pytest.mark.parametrize(
    "origin", ["*", "https://localhost.example.com", "http://10.0.0.1:3000", "https://*.example.com"]
)
def test_others(origin: str) -> None:
    """Whatever only looks like it is elsewhere, and so is everywhere."""
    assert not is_local(origin)


def test_no_host_is_every_interface() -> None:
    """An empty WS_HOST is reached from everywhere."""
    assert not is_loopback("")
