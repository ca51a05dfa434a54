"""The limits on one client's events and bytes, and the consequences of exceeding them."""

import gc
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collaboration.guarded import (
    EDIT,
    UNLIMITED,
    acks,
    ask,
    errors,
    heard,
    limited,
    names,
    settle,
)
from tests.collaboration.site import MemoryClient, token_of
from tests.support.calls import first_arguments
from tests.support.clocks import Clock

from synkora.collaboration import limits as limits_module
from synkora.collaboration.authentication import SignInOutcome
from synkora.collaboration.limits import EventClass, Limits, RateLimiter, TooManyBytes, TooManyRefusals
from synkora.engine.close_reasons import Reason
from synkora.engine.incidents import Limit
from synkora.engine.rate import Rate
from synkora.protocol import surrogates
from synkora.sockets.errors import EventRefused

TIMED = (limits_module,)
RATES = st.builds(Rate, st.floats(0.1, 1000), st.floats(1, 500))
#: The limits whose burst is more than one event.
WHOLE_RATES = st.builds(Rate, st.floats(0.1, 1000), st.integers(1, 500).map(float))
PAUSES = st.lists(st.floats(0, 2) | st.just(0.0), max_size=80)

CURSOR = ("canvas:cursor", {"projectId": "p", "position": 1})
#: What each kind is made of; all that is no event of the app counts with joining and leaving.
SENT: dict[str, list[tuple[Any, ...]]] = {
    "volatile_rate": [CURSOR, ("typing:stop", {"projectId": "p"}), ("canvas:cursor",)],
    "edit_rate": [EDIT, ("task:move", {"projectId": "p"}), ("markdown:update", 7)],
    "other_rate": [("join-project", "p"), ("leave-project", "p"), ("ping",), ("auth:refresh",), ("no-such-event", 1)],
}


def times_taken(rate: Rate, pauses: list[float]) -> list[float]:
    """The times of accepted events, among events after these pauses."""
    now, due, taken = 1000.0, 0.0, []
    for pause in pauses:
        now += pause
        if rate.excess(due, now) <= 0:
            due = rate.after(due, now)
            taken.append(now)
    return taken


# The algorithm


@given(RATES, PAUSES)
def test_no_stretch_of_time_sees_more_than_the_burst_and_the_rate(rate: Rate, pauses: list[float]) -> None:
    """In any interval of t seconds, at most `burst + rate * t` events are accepted."""
    taken = times_taken(rate, pauses)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            most = rate.burst + rate.per_second * (taken[last] - start)
            assert last - first + 1 <= most + 0.01  # the sum of what rounding is allowed


@given(st.floats(0.1, 1000), st.floats(1.01, 500), st.integers(1, 500))
def test_steady_traffic_at_the_rate_is_never_refused(per_second: float, burst: float, count: int) -> None:
    rate = Rate(per_second, burst)
    assert len(times_taken(rate, [1 / per_second] * count)) == count


@given(WHOLE_RATES, PAUSES)
def test_steady_traffic_is_never_refused_after_a_quiet_time(rate: Rate, pauses: list[float]) -> None:
    """A refused client is accepted again after a pause as long as its burst takes."""
    quiet = rate.burst / rate.per_second
    before = len(times_taken(rate, pauses))
    assert len(times_taken(rate, [*pauses, quiet, *[0.0] * (int(rate.burst) - 1)])) - before == int(rate.burst)


@given(WHOLE_RATES)
def test_a_burst_is_accepted_at_once(rate: Rate) -> None:
    """A busy browser sends its queued events together."""
    assert len(times_taken(rate, [0.0] * (int(rate.burst) + 5))) == rate.burst


@given(RATES, PAUSES)
def test_an_event_after_the_stated_wait_is_accepted(rate: Rate, pauses: list[float]) -> None:
    """The wait is not too short, and at most a tenth too long."""
    now, due = 1000.0, 0.0
    for pause in pauses:
        now += pause
        wait = rate.excess(due, now)
        if wait > 1e-6:
            assert rate.excess(due, now + wait * 0.9) > 0
            assert rate.excess(due, now + wait) <= 1e-9
        elif wait <= 0:
            due = rate.after(due, now)


# One client's allowance


@given(st.floats(0.2, 500), st.lists(st.floats(0, 0.05), min_size=1, max_size=100))
def test_retry_after_is_long_enough(per_second: float, pauses: list[float]) -> None:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits_module, "monotonic", clock)
        rate_limiter = RateLimiter(Limits(edit_rate=per_second))
        for pause in pauses:
            clock.now += pause
            try:
                rate_limiter.take(EventClass.EDIT)
            except EventRefused as refusal:
                wait = refusal.details["retryAfter"]
                assert isinstance(wait, float)
                clock.now += wait + 1e-9  # as finely as a clock of this size counts
                rate_limiter.take(EventClass.EDIT)


@pytest.mark.parametrize("kind", EventClass)
def test_each_kind_has_an_allowance_of_its_own(kind: EventClass, clock: Clock) -> None:
    """A user with many cursor events can still edit, and leave."""
    rate_limiter = RateLimiter(Limits(volatile_rate=1, edit_rate=1, other_rate=1))
    for _ in range(3):
        rate_limiter.take(kind)
    with pytest.raises(EventRefused):
        rate_limiter.take(kind)
    for other in EventClass:
        if other is not kind:
            rate_limiter.take(other)


def test_the_burst_is_three_seconds(clock: Clock) -> None:
    """Of a rate below one per second it is one event."""
    rate_limiter = RateLimiter(Limits(volatile_rate=10, edit_rate=0.1))
    for _ in range(30):
        rate_limiter.take(EventClass.VOLATILE)
    with pytest.raises(EventRefused):
        rate_limiter.take(EventClass.VOLATILE)
    rate_limiter.take(EventClass.EDIT)
    with pytest.raises(EventRefused) as refused:
        rate_limiter.take(EventClass.EDIT)
    assert refused.value.details == {"retryAfter": pytest.approx(10, abs=0.001)}


@pytest.mark.parametrize("kind", EventClass)
def test_zero_means_unlimited(kind: EventClass, clock: Clock) -> None:
    """Ten thousand simultaneous events are accepted."""
    rate_limiter = RateLimiter(UNLIMITED)
    for _ in range(10_000):
        rate_limiter.take(kind)


def test_the_defaults_are_five_times_the_apps_rates(clock: Clock) -> None:
    """A minute of a busy page: ten cursors, three typing events and four edits a second, with joins and pings."""
    rate_limiter = RateLimiter(Limits())
    for _ in range(60):
        for kind, often in ((EventClass.VOLATILE, 13), (EventClass.EDIT, 4), (EventClass.OTHER, 1)):
            for _ in range(often * 5):
                rate_limiter.take(kind)
        clock.now += 1


def test_endless_refused_events_disconnect_the_client(clock: Clock) -> None:
    """Two hundred refusals in a burst, or more than twenty a second. A pause resets the count."""
    rate_limiter = RateLimiter(Limits(edit_rate=1))
    for _ in range(3):
        rate_limiter.take(EventClass.EDIT)
    for _ in range(200):
        with pytest.raises(EventRefused):
            rate_limiter.take(EventClass.EDIT)
    with pytest.raises(TooManyRefusals):
        rate_limiter.take(EventClass.EDIT)
    clock.now += 3
    rate_limiter.take(EventClass.EDIT)


def test_a_client_slightly_above_the_rate_is_refused_and_stays(clock: Clock) -> None:
    """Nineteen refusals a second for an hour are accepted."""
    rate_limiter = RateLimiter(Limits(edit_rate=1))
    refused = 0
    for _ in range(3600 * 20):
        clock.now += 0.05
        try:
            rate_limiter.take(EventClass.EDIT)
        except EventRefused:
            refused += 1
    assert refused == pytest.approx(3600 * 19, rel=0.01)


# Bytes


def test_bytes_have_their_own_rate(clock: Clock) -> None:
    """The burst is three seconds' worth. One message may exceed the rest of it, and its bytes are owed."""
    rate_limiter = RateLimiter(replace(UNLIMITED, byte_rate=1000))
    rate_limiter.take(EventClass.EDIT, 2900)
    rate_limiter.take_bytes(1100)
    for kind in EventClass:
        with pytest.raises(TooManyBytes) as refused:
            rate_limiter.take(kind, 1)
    assert refused.value.details == {"retryAfter": pytest.approx(1, abs=0.002)}
    with pytest.raises(TooManyBytes):
        rate_limiter.take_bytes(1)
    clock.now += 1.002
    rate_limiter.take(EventClass.VOLATILE, 1)


@given(st.integers(1000, 10**6), st.lists(st.tuples(st.floats(0, 2), st.integers(1, 10**6)), max_size=60))
def test_no_stretch_of_time_sees_more_bytes_than_the_rate_the_burst_and_a_message(
    per_second: int, messages: list[tuple[float, int]]
) -> None:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits_module, "monotonic", clock)
        rate_limiter, start, total = RateLimiter(replace(UNLIMITED, byte_rate=per_second)), clock.now, 0
        for pause, size in messages:
            clock.now += pause
            try:
                rate_limiter.take(EventClass.EDIT, size)
            except (TooManyRefusals, EventRefused):
                continue
            total += size
            assert total <= per_second * (clock.now - start + 3) + size + 1


def test_a_document_of_20_kb_ten_times_a_second_is_never_refused(clock: Clock) -> None:
    """For ten minutes, with occasional bursts of five."""
    rate_limiter = RateLimiter(Limits())
    for number in range(6000):
        rate_limiter.take(EventClass.EDIT, 20_500)
        if number % 100 == 0:
            for _ in range(5):
                rate_limiter.take(EventClass.EDIT, 20_500)
        clock.now += 0.1


def test_large_refusals_weigh_more(clock: Clock) -> None:
    """A client with 13 MB/s at a rate of 1 MB/s is disconnected within three seconds."""
    rate_limiter, outcomes = RateLimiter(Limits()), []
    for _ in range(13 * 3):
        try:
            rate_limiter.take(EventClass.EDIT, 1_000_000)
        except (EventRefused, TooManyRefusals) as refusal:
            outcomes.append(type(refusal))
        clock.now += 1 / 13
    assert outcomes[:10] == [TooManyBytes] * 10
    assert outcomes[-1] is TooManyRefusals


async def test_bytes_too_many_are_refused_with_the_events_name_and_not_read(clock: Clock) -> None:
    """Attachments and acks count. A refused event is not relayed, and is accepted after the wait."""
    site = limited(byte_rate=1000)
    ann, bob = await site.join_both()
    ann.emit("task:create", {"projectId": "p", "task": "x" * 6000})
    ann.emit("task:create", "is not read")
    await ask(ann, "no-such-event")
    (one, other) = errors(ann)
    assert (one["message"], one["event"]) == ("Too much data: slow down", "task:create")
    assert (other["message"], other["event"]) == ("Too much data: slow down", "no-such-event")
    assert names(bob) == ["task:create"]
    clock.now += max(one["retryAfter"], other["retryAfter"])
    await ask(ann, *EDIT)
    assert names(bob) == ["task:create"]
    assert site.collaboration._incidents.limits[Limit.BYTES] == 2


async def test_acks_count_too(clock: Clock) -> None:
    site = limited(byte_rate=1000)
    ann = site.come("Ann")
    await settle()
    ann.take()
    for _ in range(2):
        ann.send('430["' + "x" * 6000 + '"]')
    await settle()
    (error,) = errors(ann)
    assert (error["message"], error["event"]) == ("ack: Too much data: slow down", "ack")
    assert error["retryAfter"] > 0


async def test_values_of_events_with_attachments_count_for_more(clock: Clock) -> None:
    """All instances decode them. Without attachments, and as long texts, they count by their bytes."""
    site = limited(byte_rate=1_000_000)
    ann, _ = await site.join_both()
    text, values = '"%s"' % ("x" * 15_000), "[%s[]]" % ("[]," * 900)
    edit = '42["canvas:update",{"projectId":"p","changes":%s}]'
    binary = '451-["canvas:update",{"projectId":"p","changes":[{"_placeholder":true,"num":0},%s]}]'
    for changes in (text, values):
        for _ in range(20):
            ann.send(edit % changes)
    clock.now += 10
    for changes in (*[text] * 20, *[values] * 11):
        ann.send(binary % changes)
        ann.session.receive_binary(ann.session.transport, b"x")
    await settle()
    assert [error["message"] for error in errors(ann)] == ["Too much data: slow down"] * 3


@pytest.mark.parametrize("event", ["ping", "auth:refresh", "join-project"])
async def test_only_small_events_are_decoded_completely(event: str) -> None:
    """An event that is not relayed, and one with attachments, has little JSON. Attachments may be large."""
    site = limited()
    ann, _ = await site.join_both()
    await ask(ann, event, [[]] * 10_000)
    (error,) = errors(ann)
    assert error == {"message": "Too large: 20480 bytes of JSON at most", "event": event}
    placeholder = {"_placeholder": True, "num": 0}
    for extra in (10_000, 3000, 0):
        payload = {"projectId": "p", "changes": [placeholder, [[]] * extra]}
        ann.send("451-" + json.dumps(["canvas:update", payload]))
        ann.session.receive_binary(ann.session.transport, bytes(200_000))
    await settle()
    assert [error["message"] for error in errors(ann)] == [
        "Too large: 20480 bytes of JSON at most",
        "Too large: 2000 values beside attachments at most",
    ]


@pytest.mark.parametrize("event", ["ping", "auth:refresh"])
async def test_halves_in_what_is_not_relayed_are_not_restored(event: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would build all values again, for milliseconds."""
    built = first_arguments(monkeypatch, surrogates, "_changed")
    site = limited()
    ann, _ = await site.join_both()
    ann.send(f'427["{event}","\\ud800",[[1]]]')
    await settle()
    assert len(built) <= 1
    answers = acks(ann) + [name for name, *_ in ann.take_events() if name == "pong"]
    assert len(answers) == (2 if event == "ping" else 1)


# In the server


@pytest.mark.parametrize("limit", SENT)
async def test_one_too_many_of_a_kind_is_refused_with_the_events_name(limit: str, clock: Clock) -> None:
    """For any event, even with an invalid payload or name. The connection stays open."""
    site = limited(**{limit: 1.0})
    ann = site.come("Ann")
    for index in range(3):
        ann.emit(*SENT[limit][index % len(SENT[limit])])
    await settle()
    ann.take()
    for event in SENT[limit]:
        ann.emit(*event)
    await settle()
    assert errors(ann) == [
        {"message": "Too many events: slow down", "event": event[0], "retryAfter": pytest.approx(1, abs=0.002)}
        for event in SENT[limit]
    ]
    assert ann.session.is_live
    clock.now += 1.001
    await ask(ann, *SENT[limit][0])
    assert "Too many events: slow down" not in [error["message"] for error in errors(ann)]


@pytest.mark.parametrize("limit", SENT)
async def test_other_classes_are_accepted_meanwhile(limit: str, clock: Clock) -> None:
    site = limited(**{limit: 1.0})
    ann = site.come("Ann")
    for _ in range(10):
        ann.emit(*SENT[limit][0])
    await settle()
    ann.take()
    for other, events in SENT.items():
        if other != limit:
            ann.emit(*events[0])
    await settle()
    assert "Too many events: slow down" not in [error["message"] for error in errors(ann)]


async def test_a_refused_event_is_not_relayed_and_other_members_lose_nothing(clock: Clock) -> None:
    """Ann exceeds her limit. Bob, in the same project and from the same address, sends as before."""
    site = limited(edit_rate=1.0)
    ann, bob = await site.join_both()
    for _ in range(20):
        ann.emit(*EDIT)
    for _ in range(3):
        bob.emit(*EDIT)
    await settle()
    assert names(bob) == ["task:create"] * 3
    assert sorted(names(ann)) == ["error"] * 17 + ["task:create"] * 3


async def test_a_refused_event_is_not_acknowledged(clock: Clock) -> None:
    site = limited(other_rate=1.0)
    ann = site.come("Ann")
    for _ in range(4):
        ann.send('427["ping"]')
    await settle()
    assert acks(ann) == [[]] * 3
    assert len(errors(ann)) == 1


async def test_endless_refused_events_disconnect_the_member_with_a_message(clock: Clock) -> None:
    """The disconnect reason makes the client reconnect by itself. Other clients stay."""
    site = limited(edit_rate=1.0)
    ann, bob = await site.join_both()
    for _ in range(1000):
        ann.emit(*EDIT)
    await settle()
    refusals = errors(ann)
    assert len(refusals) == 201
    assert refusals[-1] == {"message": "Too many events: disconnected", "retryAfter": 10}
    assert ann.transport.packets[-1] == b"41"
    assert ann.transport.closed_with == (Reason.SERVER_NAMESPACE_DISCONNECT, None)
    assert "user:left" in names(bob)
    assert bob.session.is_live
    assert site.collaboration.connections == 1


def connect_again(client: MemoryClient) -> None:
    """Leave the namespace, and connect again over the same connection."""
    client.send("41")
    client.send("40" + json.dumps({"token": token_of("Ann")}))


async def test_connecting_again_over_the_same_connection_makes_no_new_allowance(clock: Clock) -> None:
    """It is the same client, and the CONNECT itself counts as an event."""
    site = limited(other_rate=1.0)
    ann = site.come("Ann")
    for _ in range(3):
        ann.emit("ping")
    connect_again(ann)
    await settle()
    assert refusals(ann) == [
        {"message": "Too many events: slow down", "data": {"retryAfter": pytest.approx(1, abs=0.002)}}
    ]
    clock.now += 1.001
    ann.take()
    ann.send("40" + json.dumps({"token": token_of("Ann")}))
    await ask(ann, "ping")
    assert names(ann) == ["connected", "error"]


async def test_a_connect_above_the_rate_is_refused_before_its_token_is_verified(clock: Clock) -> None:
    """Verifying a token costs more than refusing it. Invalid tokens count as well."""
    site = limited(other_rate=1.0)
    ann = site.come("Ann")
    await settle()
    outcomes = site.collaboration.authentication.outcomes
    ann.send("41")
    for _ in range(10):
        ann.send("40" + json.dumps({"token": "wrong"}))
    await settle()
    assert outcomes == {SignInOutcome.OK: 1, SignInOutcome.NOT_VERIFIED: 3}


async def test_a_client_that_connects_repeatedly_is_disconnected(clock: Clock) -> None:
    """Refused CONNECTs lead to a disconnect. A new connection has a new count."""
    site = limited(other_rate=1.0)
    ann = site.come("Ann")
    for _ in range(3):
        connect_again(ann)
    ann.send("41")
    for _ in range(300):
        ann.send("40" + json.dumps({"token": token_of("Ann")}))
    await settle()
    assert not ann.session.is_live
    assert ann.transport.closed_with == (Reason.SERVER_NAMESPACE_DISCONNECT, None)
    assert site.collaboration.connections == 0
    again = site.come("Ann")
    await settle()
    assert names(again) == ["connected"]


async def test_limits_end_with_their_connections() -> None:
    site = limited(other_rate=1.0)
    clients = [site.come("Ann") for _ in range(5)]
    await settle()
    for client in clients:
        client.session.transport_closed(client.transport, Reason.TRANSPORT_CLOSE)
    clients.clear()
    del client
    gc.collect()
    assert len(site.collaboration._rate_limiters) == 0


# Connections of a user


def refusals(client: MemoryClient) -> list[dict[str, Any]]:
    return [json.loads(packet[2:]) for packet in client.transport.packets if packet.startswith(b"44")]


async def test_a_users_connections_are_limited() -> None:
    """One more is refused with a message. Other users are not affected, and a disconnect makes room."""
    site = limited(connections=2)
    first, second, third = (site.come("Ann") for _ in range(3))
    bob = site.come("Bob")
    await settle()
    assert refusals(third) == [{"message": "Too many connections", "data": {"retryAfter": 10}}]
    assert [refusals(client) for client in (first, second, bob)] == [[], [], []]
    assert site.collaboration.connections == 3
    first.session.transport_closed(first.transport, Reason.TRANSPORT_CLOSE)
    again = site.come("Ann")
    await settle()
    assert refusals(again) == []
    for client in (second, again, bob, third):
        client.session.transport_closed(client.transport, Reason.TRANSPORT_CLOSE)
    assert site.collaboration.connections == 0
    assert not site.collaboration._connections


async def test_a_refused_connection_does_not_count_for_the_user() -> None:
    """Any number of attempts leaves no count behind."""
    site = limited(connections=1)
    ann = site.come("Ann")
    for _ in range(5):
        site.come("Ann")
    await settle()
    ann.session.transport_closed(ann.transport, Reason.TRANSPORT_CLOSE)
    again = site.come("Ann")
    await heard(again, lambda events: any(event[0] == "connected" for event in events))
    assert site.collaboration.connections == 1


async def test_zero_connections_of_a_user_means_unlimited() -> None:
    site = limited(connections=0)
    clients = [site.come("Ann") for _ in range(100)]
    await settle()
    assert not any(refusals(client) for client in clients)
    assert names(clients[-1]) == ["connected"]
