"""The growing delay for addresses whose sign-ins fail."""

import pytest
from tests.support.clocks import Clock

from synkora.collaboration import failure_backoff as failures_module
from synkora.collaboration.failure_backoff import FailureBackoff

TIMED = (failures_module,)
ADDRESS = "192.0.2.1"


def test_the_first_failures_are_not_delayed_and_each_further_delay_doubles(clock: Clock) -> None:
    failures = FailureBackoff(3)
    delays = [failures.note(ADDRESS) for _ in range(12)]
    assert delays == [0, 0, 0, 0.5, 1, 2, 4, 8, 10, 10, 10, 10]
    for _ in range(5000):
        assert failures.note(ADDRESS) == 10


def test_an_address_is_reset_after_a_minute_without_a_failure(clock: Clock) -> None:
    failures = FailureBackoff(2)
    delays = []
    for pause in (0, 0, 0, 59.9, 59.9, 60, 0, 0):
        clock.now += pause
        delays.append(failures.note(ADDRESS))
    assert delays == [0, 0, 0.5, 1, 2, 0, 0, 0.5]


def test_addresses_are_counted_each_for_itself(clock: Clock) -> None:
    failures = FailureBackoff(1)
    assert [failures.note(ADDRESS) for _ in range(3)] == [0, 0.5, 1]
    assert failures.note("192.0.2.2") == 0


def test_a_network_of_ipv6_that_one_household_has_is_one_address(clock: Clock) -> None:
    """The 2⁶⁴ addresses of one network share a count. The next network has its own."""
    failures = FailureBackoff(1)
    assert [failures.note(f"2001:db8::{host:x}") for host in range(3)] == [0, 0.5, 1]
    assert failures.note("2001:db8:0:1::1") == 0


def test_an_ipv4_address_is_the_same_however_it_is_written(clock: Clock) -> None:
    """A dual-stack socket writes IPv4 addresses as IPv6."""
    failures = FailureBackoff(1)
    assert failures.note(ADDRESS) == 0
    assert failures.note(f"::ffff:{ADDRESS}") == 0.5
    assert failures.note("::ffff:192.0.2.2") == 0


def test_zero_means_unlimited(clock: Clock) -> None:
    failures = FailureBackoff(0)
    assert {failures.note(ADDRESS) for _ in range(1000)} == {0}
    assert not failures._counts


def test_each_failure_is_reported_with_its_address() -> None:
    told: list[str] = []
    for failures in (FailureBackoff(1), FailureBackoff(0)):
        failures.on_failure = told.append
        for address in (ADDRESS, "2001:db8::1"):
            failures.note(address)
    assert told == [ADDRESS, "2001:db8::/64"]


def test_failures_of_other_servers_count_like_ones_own(clock: Clock) -> None:
    """Also for a minute. A total that both know counts once."""
    failures = FailureBackoff(3)
    failures.note(ADDRESS)
    assert failures.add(ADDRESS, 2) == 3
    failures.raise_to(ADDRESS, 2)
    assert failures.counts == {ADDRESS: 3}
    failures.raise_to(ADDRESS, 5)
    assert failures.note(ADDRESS) == 2
    clock.now += 60
    assert failures.counts == {}
    assert failures.add(ADDRESS, 1) == 1


def test_memory_is_bounded_and_the_longest_quiet_are_forgotten_first(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many addresses fail, one that continues to fail stays known."""
    monkeypatch.setattr(failures_module, "_MAX_ADDRESSES", 10)
    failures = FailureBackoff(1)
    for number in range(100):
        failures.note(f"10.0.0.{number}")
        failures.note(ADDRESS)
    assert len(failures._counts) == 10
    assert failures.note(ADDRESS) == 10
    assert failures.note("10.0.0.99") == 0.5
    assert failures.note("10.0.0.1") == 0


def test_an_address_with_many_failures_is_delayed_without_another_failure(clock: Clock) -> None:
    """For a minute after the failure that reaches the number. Zero disables this."""
    failures = FailureBackoff(2)
    for _ in range(2):
        assert not failures.is_delayed("192.0.2.1")
        failures.note("192.0.2.1")
    assert failures.is_delayed("192.0.2.1")
    assert not failures.is_delayed("192.0.2.2")
    clock.now += 60
    assert not failures.is_delayed("192.0.2.1")
    assert not FailureBackoff(0).is_delayed("192.0.2.1")
