import pytest

from synkora.identity.claims import read_claims
from synkora.identity.errors import TokenInvalid

NOW = 1_800_000_000


def reason(payload: str | bytes) -> str:
    with pytest.raises(TokenInvalid) as refused:
        read_claims(payload.encode() if isinstance(payload, str) else payload, NOW)
    return refused.value.reason


@pytest.mark.parametrize(("seconds_ago", "good"), [(-1, True), (0, True), (14, True), (14.5, True), (15, False)])
def test_a_token_outlives_its_time_by_the_clock_tolerance(seconds_ago: float, good: bool) -> None:
    """Until 15 s after `exp`, as in the app's own decoders."""
    payload = f'{{"exp": {NOW - seconds_ago}}}'
    if good:
        assert read_claims(payload.encode(), NOW) == {"exp": NOW - seconds_ago}
    else:
        assert reason(payload) == "expired"


def test_a_token_begins_before_its_time_by_the_clock_tolerance() -> None:
    """From 15 s before `nbf`."""
    assert read_claims(f'{{"nbf": {NOW + 15}}}'.encode(), NOW) == {"nbf": NOW + 15}
    assert reason(f'{{"nbf": {NOW + 16}}}') == "not valid yet"


def test_a_token_issued_by_a_clock_that_is_ahead_is_good() -> None:
    """The app itself accepts a future `iat`."""
    assert read_claims(f'{{"iat": {NOW + 3600}}}'.encode(), NOW) == {"iat": NOW + 3600}


def test_a_token_without_times_is_good() -> None:
    """`exp`, `nbf` and `iat` may be missing."""
    assert read_claims(b'{"id": "user-1"}', NOW) == {"id": "user-1"}


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["null", '"1900000000"', "true", "[]", "{}", "NaN", "Infinity", "1e999", "9" * 400])
def test_a_time_that_is_not_a_number_is_refused(claim: str, value: str) -> None:
    """Otherwise such a token would never expire."""
    assert reason(f'{{"{claim}": {value}}}') == "claims malformed"


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"null", b'"user-1"', b"{", b"\xff", b'{"id": "\xff"}', b"[" * 100_000, b"1" * 10_000]
)
def test_a_payload_that_is_not_a_json_object_is_refused(payload: bytes) -> None:
    assert reason(payload) == "claims malformed"
