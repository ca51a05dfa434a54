"""The state of presence in Redis: its keys, and the Lua scripts that change it atomically."""

from typing import Final

from synkora.redis.link import Script

RENEW_LEASE: Final = Script.load(__package__, "common", "renew_lease")
CHANGE: Final = Script.load(__package__, "common", "change")
ENTER: Final = Script.load(__package__, "common", "enter")
REAP: Final = Script.load(__package__, "common", "reap")


class Keys:
    """The names of the keys and channels in Redis, all beginning with `prefix`.

    A project's id is the end of its names, so it may be any text.
    """

    __slots__ = ("_prefix",)

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    @property
    def instances(self) -> bytes:
        """A sorted set: the instances by the time of their last renewal in ms."""
        return f"{self._prefix}instances".encode()

    def instance(self, uid: str) -> bytes:
        """A set: the ids of the projects with a connection of this instance."""
        return f"{self._prefix}instance:{uid}".encode()

    def project(self, project_id: str) -> bytes:
        """A hash: each connection in the project, with its instance and JSON, and the version under an empty name."""
        return f"{self._prefix}project:{project_id}".encode()

    def users(self, project_id: str) -> bytes:
        """A hash: the users that the app's backend knows in the project, each with its number of connections.

        Under an empty name it has the version of the project that they are of.
        """
        return f"{self._prefix}users:{project_id}".encode()

    @property
    def webhooks(self) -> bytes:
        """A stream: the events for the app's backend that wait."""
        return f"{self._prefix}webhooks".encode()

    @property
    def webhook_state(self) -> bytes:
        """A hash: the number of bytes in the stream, and of events that have been dropped from it."""
        return f"{self._prefix}webhook-state".encode()

    @property
    def webhook_sender(self) -> bytes:
        """The instance that sends the events."""
        return f"{self._prefix}webhook-sender".encode()

    def channel(self, project_id: str) -> bytes:
        """The channel on which changes of the project are announced."""
        return f"{self._prefix}presence:{project_id}".encode()
