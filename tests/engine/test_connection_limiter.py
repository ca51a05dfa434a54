"""Limits on clients: in all, per address, and new ones per address and second."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.clients import Polling, websocket
from tests.support.clocks import Clock
from tests.support.servers import Address, serving, until
from tests.support.sessions import MemoryTransport, request_of
from websockets.exceptions import InvalidStatus

from synkora.engine import connection_limiter as limiter_module
from synkora.engine.close_reasons import Reason
from synkora.engine.connection_limiter import ConnectionLimiter, ConnectionLimits
from synkora.engine.handshake import HandshakeRefused
from synkora.sockets.server import SocketServer

TIMED = (limiter_module,)
ADDRESS = "192.0.2.1"
OTHER = "192.0.2.2"


def limiter_of(**settings: Any) -> ConnectionLimiter:
    return ConnectionLimiter(ConnectionLimits(**settings))


def come(limiter: ConnectionLimiter, address: str = ADDRESS) -> None:
    """Open a session. Raises `HandshakeRefused`."""
    limiter.check(address)
    limiter.add(address)


def refusal(limiter: ConnectionLimiter, address: str = ADDRESS) -> tuple[int, str, int | None]:
    """The status, the message and the Retry-After of the next refused handshake."""
    with pytest.raises(HandshakeRefused) as refused:
        limiter.check(address)
    return refused.value.status, str(refused.value), refused.value.retry_after


def wait_for_turn(limiter: ConnectionLimiter) -> int | None:
    try:
        limiter.check(ADDRESS)
    except HandshakeRefused as refused:
        return refused.retry_after
    return None


# Counting


def test_a_full_server_refuses_clients_until_one_leaves() -> None:
    """With 503, for every address."""
    limiter = limiter_of(clients=2)
    come(limiter)
    come(limiter, OTHER)
    assert refusal(limiter) == (503, "Server is full", 10)
    assert refusal(limiter, "2001:db8::1") == (503, "Server is full", 10)
    limiter.remove(OTHER)
    come(limiter)


def test_an_address_with_enough_connections_gets_no_more_and_others_do() -> None:
    """With 429, until one of its connections ends."""
    limiter = limiter_of(connections_per_address=2)
    come(limiter)
    come(limiter)
    assert refusal(limiter) == (429, "Too many connections from this address", 10)
    come(limiter, OTHER)
    limiter.remove(OTHER)
    assert refusal(limiter)[0] == 429
    limiter.remove(ADDRESS)
    come(limiter)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("2001:DB8::1", "2001:db8:0:0:0:0:0:2", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "192.0.2.1", False),
        ("", "", True),
        ("no:address", "no:address", True),
    ],
)
def test_an_ipv6_prefix_counts_as_one_address(first: str, second: str, same: bool) -> None:
    """The /64 of an IPv6 address, and each IPv4 address in any notation. No text is an error."""
    limiter = limiter_of(connections_per_address=1)
    come(limiter, first)
    if same:
        assert refusal(limiter, second)[0] == 429
    else:
        come(limiter, second)


@pytest.mark.parametrize("rate", [0.5, 1, 10])
def test_handshakes_of_an_address_have_a_rate_and_ten_seconds_worth_at_once(rate: float, clock: Clock) -> None:
    """Many clients of one address reconnect after a restart. A further one has to wait, other addresses do not."""
    limiter = limiter_of(handshakes_per_address=rate)
    for _ in range(int(10 * rate) + 1):
        limiter.check(ADDRESS)
    status, words, retry_after = refusal(limiter)
    assert (status, words) == (429, "Too many new connections from this address")
    limiter.check(OTHER)
    assert retry_after is not None
    clock.now += retry_after
    limiter.check(ADDRESS)


@given(st.floats(0.05, 50), st.lists(st.floats(0, 3), max_size=100))
def test_retry_after_is_whole_seconds_and_long_enough(rate: float, pauses: list[float]) -> None:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limiter_module, "monotonic", clock)
        limiter = limiter_of(handshakes_per_address=rate)
        for pause in pauses:
            clock.now += pause
            retry_after = wait_for_turn(limiter)
            if retry_after is not None:
                assert isinstance(retry_after, int)
                assert retry_after >= 1
                clock.now += retry_after + 1e-6
                limiter.check(ADDRESS)


def test_refused_handshakes_do_not_put_off_the_next(clock: Clock) -> None:
    """A client that tries all the time is accepted as soon as one that waits."""
    limiter = limiter_of(handshakes_per_address=1)
    for _ in range(11):
        limiter.check(ADDRESS)
    for _ in range(100):
        assert refusal(limiter)[2] == 1
    clock.now += 1
    limiter.check(ADDRESS)


def test_steady_handshakes_at_the_rate_are_never_refused(clock: Clock) -> None:
    limiter = limiter_of(handshakes_per_address=10)
    for _ in range(5000):
        limiter.check(ADDRESS)
        clock.now += 0.1


def test_zero_means_unlimited() -> None:
    """A thousand simultaneous clients from one address."""
    limiter = limiter_of()
    for _ in range(1000):
        come(limiter)


def test_memory_is_bounded_and_the_longest_quiet_are_forgotten_first(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many addresses connect, one above its rate stays known."""
    monkeypatch.setattr(limiter_module, "_MAX_ADDRESSES", 10)
    limiter = limiter_of(handshakes_per_address=0.1)
    limiter.check(ADDRESS)
    limiter.check(ADDRESS)
    for number in range(100):
        limiter.check(f"10.0.0.{number}")
        assert refusal(limiter)[0] == 429
    assert len(limiter._due) == 10


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([ADDRESS, OTHER, "2001:db8::1", "2001:db8::2"]))))
def test_counts_never_exceed_their_limits_and_return_to_zero(steps: list[tuple[bool, str]]) -> None:
    """In any order of connects and disconnects."""
    limiter = limiter_of(clients=5, connections_per_address=2)
    inside: list[str] = []
    for comes, address in steps:
        if not comes and address in inside:
            inside.remove(address)
            limiter.remove(address)
        elif comes:
            try:
                come(limiter, address)
            except HandshakeRefused:
                pass
            else:
                inside.append(address)
        assert len(inside) <= 5
        assert sum(address.startswith("2001") for address in inside) <= 2
    for address in inside:
        limiter.remove(address)
    assert limiter._clients.total("") == 0
    assert not limiter._connections


# In a server


@asynccontextmanager
async def gated(**settings: Any) -> AsyncIterator[tuple[Address, ConnectionLimiter]]:
    limiter = limiter_of(**settings)
    server = SocketServer(connection_limiter=limiter)
    server.of("/")
    async with serving(server) as address:
        yield address, limiter


async def refused_websocket(address: Address) -> tuple[int, str | None, str]:
    """The status, the Retry-After and the body of a refused WebSocket handshake."""
    with pytest.raises(InvalidStatus) as refused:
        async with websocket(address):
            pass
    response = refused.value.response
    return response.status_code, response.headers.get("retry-after"), response.body.decode()


async def refused_polling(address: Address) -> tuple[int, str | None, str]:
    async with Polling(address, opens=False) as client:
        answer = await client.http.get(address.url())
    return answer.status_code, answer.headers.get("retry-after"), answer.text


FULL = (503, "10", '{"code":4,"message":"Server is full"}')
CROWDED = (429, "10", '{"code":4,"message":"Too many connections from this address"}')


@pytest.mark.parametrize(
    ("settings", "answer"), [({"clients": 1}, FULL), ({"connections_per_address": 1}, CROWDED)], ids=["all", "address"]
)
async def test_both_transports_are_refused_with_a_message_and_retry_after(
    settings: dict[str, int], answer: tuple[int, str, str]
) -> None:
    async with gated(**settings) as (address, limiter):
        async with websocket(address):
            assert await refused_polling(address) == answer
            assert await refused_websocket(address) == answer
        await until(lambda: limiter._clients.total("") == 0)
        async with Polling(address) as client:
            assert await refused_websocket(address) == answer
            await client.post("1")
        await until(lambda: limiter._clients.total("") == 0)
        assert not limiter._connections


async def test_too_fast_handshakes_are_refused_on_both_transports() -> None:
    """After ten seconds' worth, whichever transport the others used."""
    async with gated(handshakes_per_address=0.2) as (address, _), websocket(address), Polling(address) as client:
        async with websocket(address):
            pass
        message = '{"code":4,"message":"Too many new connections from this address"}'
        for status, retry_after, body in (await refused_polling(address), await refused_websocket(address)):
            assert (status, body) == (429, message)
            assert retry_after is not None
            assert 1 <= int(retry_after) <= 5
        assert (await client.post("40")).status_code == 200  # connected clients are not affected


async def test_an_upgrade_is_no_second_connection() -> None:
    """An upgraded session counts once, in all and for its address, and is no handshake."""
    limits = {"clients": 1, "connections_per_address": 1, "handshakes_per_address": 0.01}
    async with gated(**limits) as (address, limiter), Polling(address) as client:
        async with websocket(address, sid=client.sid) as probe:
            await probe.send("2probe")
            assert await probe.receive() == "3probe"
            await probe.send("5")
            await probe.connect()
            assert limiter._clients.total("") == 1
        await until(lambda: limiter._clients.total("") == 0)


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_many_at_once_are_no_way_around_the_limit(transport: str) -> None:
    """Of forty simultaneous handshakes, only the free places are filled."""
    async with gated(connections_per_address=5) as (address, limiter), AsyncExitStack() as stack:
        most = 0

        async def come_in() -> int:
            nonlocal most
            try:
                if transport == "websocket":
                    await stack.enter_async_context(websocket(address))
                    return 200
                answer = await http.get(address.url())
                return answer.status_code
            except InvalidStatus as refused:
                return refused.response.status_code
            finally:
                most = max(most, limiter._clients.total(""))

        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        statuses = await asyncio.gather(*(come_in() for _ in range(40)))
        assert sorted(statuses) == [200] * 5 + [429] * 35
        assert most == 5


async def test_counts_return_to_zero_however_sessions_end() -> None:
    """A clean end, a lost connection, a server's own disconnect, and a slow close."""
    limiter = limiter_of(clients=100)
    registry = SocketServer(connection_limiter=limiter)._registry
    closed, lost, ended, lingering = (registry.open(request_of(), MemoryTransport()) for _ in range(4))
    closed.receive_text(closed.transport, b"1")
    lost.transport_closed(lost.transport, Reason.TRANSPORT_CLOSE)
    ended.close(Reason.SERVER_NAMESPACE_DISCONNECT)
    assert limiter._clients.total("") == 1
    transport = MemoryTransport("polling", writable=False)
    polling = registry.open(request_of(), transport)
    transport.lingers = True
    polling.close(Reason.SERVER_NAMESPACE_DISCONNECT)
    assert limiter._clients.total("") == 2, "its last words still take room"
    for _ in range(2):  # polls: one gets the last messages, one the close packet
        transport.writable = True
        polling.transport_ready(transport)
    assert limiter._clients.total("") == 1
    lingering.close(Reason.PING_TIMEOUT)
    lingering.transport_closed(lingering.transport, Reason.TRANSPORT_CLOSE)
    assert limiter._clients.total("") == 0
    assert not limiter._connections
    registry.close()
