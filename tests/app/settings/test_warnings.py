"""Warnings at the start: weak secrets, and origins that admit every page."""

import secrets
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.processes import Synkora

from synkora.app.settings.warnings import is_placeholder, origin_warnings, secret_warnings, weakness

GOOD = "Rk2c7W9sVx0mQpYtB4nE6uHjLzAqD1fG3iKoS5wTvXy="
ADVICE = (
    "anyone who guesses the secret can sign in as any user. "
    "Make one for the app and this server: openssl rand -base64 32"
)


PLACEHOLDERS = {
    "your-secret-here",
    "changeme",
    "secret",
    "supersecret",
    "your-nextauth-secret",
    "your_nextauth_secret",
    "YourNextAuthSecretHere",
    "generate-with-openssl-rand-base64-32",
    "your-super-secret-key-change-this-in-production",
    "<replace with a long random string of at least 32 characters>",
    "development-secret-change-in-production-1234567890",
    "12345678901234567890123456789012",
    "password123",
    "${NEXTAUTH_SECRET}",
}


@pytest.mark.parametrize("secret", sorted(PLACEHOLDERS))
def test_placeholders(secret: str) -> None:
    assert is_placeholder(secret)
    assert weakness(secret) == f"looks like a placeholder out of an example file: {ADVICE}"


@pytest.mark.parametrize("secret", ["." * 64, "ab" * 32, "Zk7qLw3v" * 4, "aaaabbbbccccddddaaaabbbbccccdddd"])
def test_repetitions(secret: str) -> None:
    """Length does not help if the content repeats."""
    assert weakness(secret) == f"repeats itself: {ADVICE}"


def test_short_ones() -> None:
    assert weakness(GOOD[:31]) == f"is shorter than 32 bytes: {ADVICE}"
    assert weakness(GOOD[:32]) is None
    assert weakness("пароль-из-нескольких-слов-тут") is None


@given(st.randoms(use_true_random=False), st.integers(32, 64))
def test_random_secrets_are_good(random: secrets.SystemRandom, size: int) -> None:
    """Base64 and hexadecimal digits never count as words."""
    for alphabet in ("0123456789abcdef", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"):
        text = "".join(random.choices(alphabet, k=size))
        assert not is_placeholder(text) or len(set(text)) < 8


def test_fresh_secrets_are_good() -> None:
    """Secrets made as the advice says, or in other usual ways."""
    for _ in range(1000):
        assert weakness(secrets.token_urlsafe(32)) is None
        assert weakness(secrets.token_hex(16)) is None


def test_previous_secrets_count_as_well() -> None:
    """Each weak variable has one line without any secret."""
    lines = list(secret_warnings("changeme", (GOOD, "hunter2", "hunter3")))
    assert lines == [
        f"NEXTAUTH_SECRET looks like a placeholder out of an example file: {ADVICE}",
        f"NEXTAUTH_SECRET_PREVIOUS is shorter than 32 bytes: {ADVICE}",
    ]
    assert list(secret_warnings(GOOD, ())) == []


def test_open_origins() -> None:
    """`*` has a warning, a wildcard for subdomains has none."""
    assert len(list(origin_warnings(("https://a.test", "*")))) == 1
    assert list(origin_warnings(("https://a.test", "https://*.b.test", "capacitor://localhost"))) == []


def test_origins_that_any_page_can_have() -> None:
    """The warning says that cookies of such pages are ignored."""
    lines = list(origin_warnings(("null", "file://")))
    assert [line.partition(":")[0] for line in lines] == ["ALLOWED_ORIGINS has null", "ALLOWED_ORIGINS has file"]


def started(folder: Path, **variables: str) -> list[str]:
    """The output of a server between its banner and its stop."""
    with Synkora(folder, "serve", WS_HOST="127.0.0.1", WS_PORT="0", **variables) as program:
        program.line(lambda line: "Ready" in line)
        program.terminate()
        assert program.stderr == []
        return [line for line in program.stdout[8:] if line.startswith("!")]


def test_a_server_warns_and_starts(tmp_path: Path) -> None:
    """Each caution is a log line after the banner, without the secret."""
    lines = started(tmp_path, NEXTAUTH_SECRET="hunter2-hunter2", ALLOWED_ORIGINS="*")
    assert lines == [
        f"! NEXTAUTH_SECRET is shorter than 32 bytes: {ADVICE}",
        "! ALLOWED_ORIGINS has *: every page may connect, and the cookies of pages that are not named are ignored, "
        "so that their users sign in only by a token",
    ]


def test_a_server_without_a_caution(tmp_path: Path) -> None:
    """In production, a strong secret is enough."""
    assert started(tmp_path, NEXTAUTH_SECRET=GOOD, SYNKORA_ENV="production") == []


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"NEXTAUTH_SECRET": "hunter2-hunter2"},
            f"SYNKORA_ENV is production, and NEXTAUTH_SECRET is shorter than 32 bytes: {ADVICE}",
        ),
        (
            {"NEXTAUTH_SECRET": GOOD, "NEXTAUTH_SECRET_PREVIOUS": "your-secret-here"},
            "SYNKORA_ENV is production, and NEXTAUTH_SECRET_PREVIOUS looks like a placeholder out of an example file: "
            + ADVICE,
        ),
    ],
)
def test_a_server_in_production_refuses(tmp_path: Path, variables: dict[str, str], line: str) -> None:
    """One line on stderr, and exit status 1."""
    with Synkora(tmp_path, "serve", WS_PORT="0", SYNKORA_ENV="production", **variables) as program:
        assert program.wait() == 1
        assert (program.stdout, program.stderr) == ([], [line])
