"""The messages for errors of Redis and of the system."""

import pytest
from tests.docs.documents import ROOT

from synkora.redis.errors import RedisRefused, unreachable


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'. script: 7f", "OOM", "memory is full"),
        (
            "ERR Error running script (call to f_7f): @user_script:1: -OOM command not allowed when used memory",
            "OOM",
            "memory is full",
        ),
        ("READONLY You can't write against a read only replica.", "READONLY", "its URL must name the master"),
        ("MISCONF Redis is configured to save RDB snapshots", "MISCONF", "cannot save them to its disk"),
        ("NOSCRIPT No matching script. Please use EVAL.", "NOSCRIPT", "Redis has forgotten its scripts"),
        ("DENIED Redis is running in protected mode", "DENIED", "protected mode"),
        ("NOPROTO unsupported protocol version", "NOPROTO", "Redis 6 or newer is needed"),
        ("MOVED 3999 127.0.0.1:6381", "MOVED", "another node of the Redis Cluster"),
        ("NOPERM this user has no permissions to run the 'publish' command", "NOPERM", "lack the command PUBLISH"),
        ("NOPERM User alice has no permissions to run the 'config|set' command", "NOPERM", "the command CONFIG|SET"),
        ("NOPERM No permissions to access a key", "NOPERM", "lack a key that is needed"),
        ("NOPERM for a reason yet to be thought of", "NOPERM", "lack something that is needed"),
        ("ERR unknown command `HELLO`, with args beginning with: `3`, `secret`, ", "ERR", "6 or newer is needed"),
        ("WRONGTYPE Operation against a key", "WRONGTYPE", "Redis answered: WRONGTYPE Operation against a key"),
    ],
)
def test_an_error_has_a_message(answer: str, code: str, words: str) -> None:
    """With its code, and without its quotations of a command or a user."""
    error = RedisRefused(answer)
    assert error.code == code
    assert words in str(error)
    assert error.is_explained == ("answered" not in words)
    assert "secret" not in str(error)
    assert "alice" not in str(error)


def test_an_endless_answer_is_shortened() -> None:
    assert len(str(RedisRefused("ERR " + "x" * 10_000))) < 300


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "nothing listens at the address of Redis"),
        (ConnectionResetError(), "perhaps only one side speaks TLS"),
        (OSError(113, "No route to host"), "Redis cannot be reached: No route to host"),
        (OSError(), "Redis cannot be reached: OSError"),
    ],
)
def test_a_failure_to_connect_has_a_message(error: OSError, words: str) -> None:
    """Without the address, which the log has in another field."""
    assert words in unreachable(error)


def test_no_message_names_a_setting_of_the_product() -> None:
    """Users of the library and of emitters pass a URL themselves."""
    files = [*(ROOT / "src/synkora").glob("redis*/**/*.py"), *(ROOT / "src/synkora/emitter").rglob("*.py")]
    assert len(files) > 20
    assert [file.name for file in files if "REDIS_URL" in file.read_text()] == []
