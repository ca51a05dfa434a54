"""The signatures of forwarded requests."""

import time

import pytest

from synkora.engine.transports.websocket_heads import Peer
from synkora.serving import forward_signature
from synkora.serving.forward_signature import VALID_FOR, BadSignature, Verifier, sign

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
PEER = Peer("192.0.2.1", over_tls=True)
REQUEST = (b"GET", b"/socket.io/?EIO=4&transport=polling&sid=abc.x")


@pytest.mark.parametrize("peer", [PEER, Peer("2001:db8::1", over_tls=False), Peer("", over_tls=False)])
def test_the_owner_learns_the_client(peer: Peer) -> None:
    """Its address, also of none at a Unix socket, and whether it uses TLS."""
    assert Verifier(KEY).check(sign(KEY, *REQUEST, peer), *REQUEST) == peer


def test_a_signature_of_another_key_is_refused() -> None:
    with pytest.raises(BadSignature, match="forged"):
        Verifier(KEY).check(sign(OTHER_KEY, *REQUEST, PEER), *REQUEST)


@pytest.mark.parametrize("request_", [(b"POST", REQUEST[1]), (b"GET", REQUEST[1] + b"y")])
def test_a_signature_is_for_one_method_and_target(request_: tuple[bytes, bytes]) -> None:
    with pytest.raises(BadSignature, match="forged"):
        Verifier(KEY).check(sign(KEY, *REQUEST, PEER), *request_)


def test_a_changed_client_is_refused() -> None:
    value = sign(KEY, *REQUEST, PEER).replace(b"192.0.2.1", b"192.0.2.2")
    with pytest.raises(BadSignature, match="forged"):
        Verifier(KEY).check(value, *REQUEST)


@pytest.mark.parametrize("value", [b"", b" ", b"a", b"1 2 http 192.0.2.1", b"\xff \xff"])
def test_a_value_without_a_signature_is_refused(value: bytes) -> None:
    with pytest.raises(BadSignature, match="forged"):
        Verifier(KEY).check(value, *REQUEST)


def test_a_signature_is_valid_once() -> None:
    """Others of the same request are valid too."""
    verifier = Verifier(KEY)
    values = [sign(KEY, *REQUEST, PEER) for _ in range(2)]
    for value in values:
        verifier.check(value, *REQUEST)
    for value in values:
        with pytest.raises(BadSignature, match="replayed"):
            verifier.check(value, *REQUEST)


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("ahead", [-1, 1])
def test_a_signature_expires(monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    """Before and after the time of the owner's clock."""
    clock = Clock(1_000_000)
    monkeypatch.setattr(time, "time", clock)
    value = sign(KEY, *REQUEST, PEER)
    late = Clock(clock.now + ahead * (VALID_FOR + 1))
    with pytest.raises(BadSignature, match="expired"):
        Verifier(KEY, late).check(value, *REQUEST)
    assert Verifier(KEY, Clock(clock.now + ahead * (VALID_FOR - 1))).check(value, *REQUEST) == PEER


def test_a_signature_cannot_be_replayed_while_it_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of its time neither, if its clock is ahead. Then the owner's memory of it ends."""
    ahead = Clock(1_000_000)
    monkeypatch.setattr(time, "time", ahead)
    value, other = sign(KEY, *REQUEST, PEER), sign(KEY, *REQUEST, PEER)
    clock = Clock(ahead.now - VALID_FOR)
    verifier = Verifier(KEY, clock)
    verifier.check(value, *REQUEST)
    clock.now = ahead.now + VALID_FOR
    with pytest.raises(BadSignature, match="replayed"):
        verifier.check(value, *REQUEST)
    clock.now += 1
    ahead.now = clock.now
    verifier.check(sign(KEY, *REQUEST, PEER), *REQUEST)
    with pytest.raises(BadSignature, match="expired"):
        verifier.check(other, *REQUEST)
    assert len(verifier) == 1


@pytest.mark.parametrize("ahead", [-VALID_FOR, -20, 0, 20, VALID_FOR])
def test_a_signature_is_remembered_for_as_long_as_it_is_valid(monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    """And no longer than a second more, also behind others that are valid for longer."""
    theirs, clock = Clock(1_000_000 + VALID_FOR), Clock(1_000_000)
    monkeypatch.setattr(time, "time", theirs)
    verifier = Verifier(KEY, clock)
    verifier.check(sign(KEY, *REQUEST, PEER), *REQUEST)
    theirs.now = clock.now + ahead
    verifier.check(sign(KEY, *REQUEST, PEER), *REQUEST)
    clock.now += VALID_FOR + ahead
    theirs.now = clock.now + 1
    verifier.check(sign(KEY, *REQUEST, PEER), *REQUEST)
    assert len(verifier) == 3
    clock.now += 1
    theirs.now = clock.now + 1
    verifier.check(sign(KEY, *REQUEST, PEER), *REQUEST)
    assert len(verifier) == (2 if ahead == VALID_FOR else 3)


def test_only_what_may_not_be_repeated_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be repeated without effect takes no memory, and is accepted when the memory is full."""
    monkeypatch.setattr(forward_signature, "MAX_NONCES", 1)
    verifier = Verifier(KEY)
    value = sign(KEY, *REQUEST, PEER)
    for _ in range(3):
        assert verifier.check(value, *REQUEST, is_once=False) == PEER
    verifier.check(value, *REQUEST)
    with pytest.raises(BadSignature, match="too many"):
        verifier.check(sign(KEY, *REQUEST, PEER), *REQUEST)
    assert verifier.check(sign(KEY, *REQUEST, PEER), *REQUEST, is_once=False) == PEER


def test_the_memory_of_signatures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_signature, "MAX_NONCES", 2)
    verifier = Verifier(KEY)
    for _ in range(2):
        verifier.check(sign(KEY, *REQUEST, PEER), *REQUEST)
    with pytest.raises(BadSignature, match="too many"):
        verifier.check(sign(KEY, *REQUEST, PEER), *REQUEST)
