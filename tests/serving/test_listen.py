"""The server's listening sockets."""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.processes import PATIENCE

from synkora.serving.listen import listen

LINK_LOCAL = "fe80"


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listening(opened: ExitStack, host: str, port: int = 0) -> list[socket.socket]:
    return [opened.enter_context(bound) for bound in listen(host, port)]


def families(sockets: list[socket.socket]) -> list[socket.AddressFamily]:
    return [bound.family for bound in sockets]


def test_one_address(opened: ExitStack) -> None:
    """Non-blocking. Port 0 is any free port."""
    (bound,) = listening(opened, "127.0.0.1")
    host, port = bound.getsockname()
    assert host == "127.0.0.1"
    assert port != 0
    assert bound.getblocking() is False
    opened.enter_context(socket.create_connection((host, port), timeout=PATIENCE))


def test_every_interface(opened: ExitStack) -> None:
    """Without a host: IPv4, and IPv6 if available, with the same port."""
    sockets = listening(opened, "")
    assert families(sockets)[0] == socket.AF_INET
    assert len({bound.getsockname()[1] for bound in sockets}) == 1
    hosts = ["127.0.0.1", "::1"][: len(sockets)]
    for host in hosts:
        opened.enter_context(socket.create_connection((host, sockets[0].getsockname()[1]), timeout=PATIENCE))


def test_the_families_do_not_overlap(opened: ExitStack) -> None:
    """The IPv6 socket accepts only IPv6, so that both can have one port."""
    for bound in listening(opened, ""):
        if bound.family == socket.AF_INET6:
            assert bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def test_a_name(opened: ExitStack) -> None:
    sockets = listening(opened, "localhost")
    assert len({bound.getsockname()[1] for bound in sockets}) == 1
    assert {bound.getsockname()[0] for bound in sockets} <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_a_port_in_use(opened: ExitStack, host: str) -> None:
    (bound,) = listening(opened, "127.0.0.1")
    with pytest.raises(OSError) as refused:  # noqa: PT011  # errno is checked below
        listen(host, bound.getsockname()[1])
    assert refused.value.errno == errno.EADDRINUSE


def test_a_port_that_only_one_family_can_have_is_released(opened: ExitStack) -> None:
    """If IPv6 cannot have the port, IPv4 does not keep it."""
    sockets = listening(opened, "")
    if len(sockets) == 2:
        by_ipv4, _ = sockets
        port = by_ipv4.getsockname()[1]
        by_ipv4.close()
        with pytest.raises(OSError) as refused:  # noqa: PT011  # errno is checked below
            listen("", port)
        assert refused.value.errno == errno.EADDRINUSE
        listening(opened, "127.0.0.1", port)


def test_a_port_can_be_listened_on_again_at_once(opened: ExitStack) -> None:
    """A restarted server does not wait for connections in TIME_WAIT."""
    (bound,) = listening(opened, "127.0.0.1")
    port = bound.getsockname()[1]
    client = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
    bound.setblocking(True)
    accepted, _ = bound.accept()
    accepted.close()  # the server's end then stays in TIME_WAIT
    assert client.recv(1) == b""
    client.close()
    bound.close()
    listening(opened, "127.0.0.1", port)


def test_an_address_of_another_machine() -> None:
    with pytest.raises(OSError) as refused:  # noqa: PT011  # errno is checked below
        listen("192.0.2.1", 0)
    assert refused.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("host", ["no-such-host.invalid", "no..host", "x" * 64])
def test_an_unknown_host_name(host: str) -> None:
    """A name that cannot be resolved is a `gaierror`, which is an `OSError`."""
    with pytest.raises(socket.gaierror):
        listen(host, 0)


def test_an_address_with_a_scope(opened: ExitStack) -> None:
    """A link-local address uses the named interface."""
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        digits, _, _, _, _, interface = line.split()
        if digits.startswith(LINK_LOCAL):
            address = ":".join(digits[start : start + 4] for start in range(0, 32, 4))
            (bound,) = listening(opened, f"{address}%{interface}")
            assert bound.getsockname()[3] == socket.if_nametoindex(interface)
