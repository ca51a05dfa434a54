"""The admin UI's password and its sessions."""

import pytest
from tests.support.clocks import Clock

from synkora.app.admin_ui.credentials import SESSION, Credentials

TOKEN = "the-token-of-this-console-2f7d"


@pytest.fixture
def clock() -> Clock:
    return Clock(1_700_000_000.5)


@pytest.fixture
def credentials(clock: Clock) -> Credentials:
    return Credentials(TOKEN, clock)


def test_the_password_is_the_token(credentials: Credentials) -> None:
    assert credentials.are_password(TOKEN)


@pytest.mark.parametrize("given", [None, "", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "pässwörd", 7, True, [TOKEN], {}])
def test_any_other_password_is_invalid(credentials: Credentials, given: object) -> None:
    assert not credentials.are_password(given)


def test_a_session_ends(credentials: Credentials, clock: Clock) -> None:
    session = credentials.new_session()
    assert credentials.are_session(session)
    clock.now += SESSION - 1
    assert credentials.are_session(session)
    clock.now += 1
    assert not credentials.are_session(session)


def test_a_session_holds_for_every_instance_with_the_token(credentials: Credentials, clock: Clock) -> None:
    session = credentials.new_session()
    assert Credentials(TOKEN, clock).are_session(session)
    assert not Credentials(TOKEN + "2", clock).are_session(session)


def test_a_session_cannot_be_made_up(credentials: Credentials, clock: Clock) -> None:
    end, _, signature = credentials.new_session().partition(".")
    later = str(int(end) + 1)
    for given in (f"{later}.{signature}", f"{end}.", end, signature, f"{end}.{signature[:-1]}", f"x.{signature}"):
        assert not credentials.are_session(given)


def test_a_too_long_id_is_not_a_session(credentials: Credentials, clock: Clock) -> None:
    """It is refused before its signature is computed, even a valid one: checking a client's id must be cheap."""
    for zeros, holds in ((0, True), (20, True), (100, False)):
        end = "0" * zeros + str(int(clock.now) + SESSION)
        assert credentials.are_session(f"{end}.{credentials._sign(end)}") is holds


@pytest.mark.parametrize("given", [None, "", ".", 7, ["a"], {}, "é.é", TOKEN])
def test_any_other_session_is_invalid(credentials: Credentials, given: object) -> None:
    assert not credentials.are_session(given)
