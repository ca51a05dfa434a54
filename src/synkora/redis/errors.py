"""Failures of the connection to Redis, with messages for operators; and the errors that lead elsewhere, such as MOVED.

No message holds a password. Redis' own error messages may repeat a command, such as the one that signs in.
"""

import re
import ssl
from typing import Final

ENDED_AT_ONCE: Final = "Redis ended the connection at once: perhaps only one side speaks TLS"
ENDED_TLS_AT_ONCE: Final = (
    "Redis ended the connection at once: perhaps it wants a certificate of this client that it accepts, by "
    "ssl_certfile and ssl_keyfile in its URL"
)
MOVING: Final = "the Redis Cluster is moving the hash slot of this server's keys to another node"
NO_REDIS: Final = "what answers at the address of Redis is not Redis"
NOT_TAKEN: Final = "Redis refuses to sign this instance in; its words are not shown, as they may repeat the password"
TOO_OLD: Final = "Redis 6 or newer is needed"

_WORDS: Final = {
    "ASK": MOVING,
    "CLUSTERDOWN": "the Redis Cluster is down: it serves no hash slots until a majority of its masters is there",
    "CROSSSLOT": "Redis takes the keys of one hash slot at a time: its URL must begin with redis+cluster://",
    "DENIED": "Redis is in protected mode, and accepts only local clients until it has a password",
    "LOADING": "Redis is still loading its data",
    "MASTERDOWN": "Redis is a replica that has lost its master",
    "MISCONF": "Redis refuses writes: it cannot save them to its disk",
    "MOVED": "the hash slot of this server's keys is on another node of the Redis Cluster",
    "NOAUTH": "Redis needs a password, and its URL has none",
    "NOPROTO": TOO_OLD,
    "NOREPLICAS": "Redis refuses writes: it has too few replicas",
    "NOSCRIPT": "Redis has forgotten its scripts",
    "OOM": "Redis refuses writes: its memory is full (maxmemory)",
    "READONLY": "Redis is a replica, which refuses writes: its URL must name the master",
    "TRYAGAIN": MOVING,
    "WRONGPASS": "Redis does not accept the user and password of its URL, or the user is off",
}
#: The connection works, but its Redis cannot be used: after a failover, another Redis has to be found. After NOSCRIPT,
#: a new connection keeps the order: a script that is sent again over this one would run after later commands.
LEADS_ELSEWHERE: Final = frozenset(
    {"ASK", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MOVED", "NOSCRIPT", "READONLY", "TRYAGAIN"}
)
#: Redis has a problem of its own, perhaps for a while; commands that need no memory still work.
TROUBLE: Final = frozenset({"BUSY", "MISCONF", "NOREPLICAS", "OOM"})
_SENTENCES: Final = {
    "unknown command": "Redis does not know a command: " + TOO_OLD + ", with no command renamed",
    "max number of clients": "Redis has its maximum of clients (maxclients)",
    "DB index": "Redis has no database of the number that its URL gives",
}
_IN_SCRIPT: Final = re.compile(r"Error running script .*: -([A-Z]+) ")  # up to Redis 6
_FORBIDDEN: Final = re.compile(r"'([a-z|]+)' command")
_FORBIDDEN_KINDS: Final = ("channel", "key")
_SHOWN: Final = 200  # characters


#: What is raised for an answer of Redis that has another form: another program or version has written there.
UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError, OverflowError)


class LinkDown(Exception):
    """Redis is not available, or the link was lost before the reply. The message gives the reason."""


class RedisRefused(Exception):
    """Redis answered with an error.

    `code` is the error's first word, such as `OOM`: https://redis.io/docs/latest/develop/reference/protocol-spec/,
    "Simple errors". If `is_explained`, the message is ours, otherwise Redis' own.
    """

    def __init__(self, error: str) -> None:
        nested = _IN_SCRIPT.search(error)
        self.code = nested[1] if nested else error.partition(" ")[0]
        words = _explained(self.code, error)
        self.is_explained = words is not None
        super().__init__(words or f"Redis answered: {error[:_SHOWN]}")


def _explained(code: str, error: str) -> str | None:
    if code == "NOPERM":
        return f"the rights (ACL) of the user in Redis' URL lack {_lacking(error)}"
    if code in _WORDS:
        return _WORDS[code]
    for part, words in _SENTENCES.items():
        if part in error:
            return words
    return None


def _lacking(error: str) -> str:
    command = _FORBIDDEN.search(error)
    if command is not None:
        return f"the command {command[1].upper()}"
    kind = next((kind for kind in _FORBIDDEN_KINDS if kind in error), None)
    return f"a {kind} that is needed" if kind else "something that is needed"


def unreachable(error: OSError) -> str:
    """Return why a connection failed, without the address: users may see the text."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of Redis is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "Redis does not answer with TLS as it should: " + (error.reason or "unknown reason").lower()
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens at the address of Redis"
    if isinstance(error, ConnectionError):
        return ENDED_AT_ONCE
    return f"Redis cannot be reached: {error.strerror or type(error).__name__}"
