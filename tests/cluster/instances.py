"""Instances of presence, as their clients see them."""

from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.cluster.lease import Timing
from synkora.cluster.presence_sync import PresenceSync
from synkora.collaboration.presence import PresenceEntry
from synkora.redis.link import Link

STILL = Timing(beat=1e6, silence=1e6, lifetime=3e6, timeout=1e6, absence=1e6, watch=0, doubt=1e6)  # nothing by itself


class Witness:
    """What the clients of an instance know. Each join and each leave must be announced once."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, PresenceEntry]] = {}
        self.heard: list[str] = []
        self.completions = 0
        self.presence: PresenceSync

    def joined(self, project_id: str, entry: PresenceEntry) -> None:
        known = self.known.setdefault(project_id, {})
        assert entry.socketId not in known, f"{entry.socketId} has come twice"
        known[entry.socketId] = entry
        self.heard.append(f"+{entry.socketId}")

    def left(self, project_id: str, entry: PresenceEntry) -> None:
        gone = self.known[project_id].pop(entry.socketId, None)
        assert gone == entry, f"{entry.socketId} has gone twice"
        self.heard.append(f"-{entry.socketId}")

    def completed(self, project_id: str) -> None:
        """The list has become known: the clients get it."""
        self.get_list(project_id)
        self.completions += 1

    def get_list(self, project_id: str) -> None:
        """The connections in a list. The list itself has only users."""
        project = self.presence._projects[project_id]
        self.known[project_id] = {each.socketId: each for each in project.replica.presence.entries}

    def take(self) -> list[str]:
        """The announcements since the last call: `+` and `-` with the socket's id."""
        taken, self.heard = self.heard, []
        return taken


class Instance:
    """An instance with clients. The id of a socket is a letter and a number."""

    def __init__(self, link: Link, timing: Timing = STILL, *, webhooks: bool = False) -> None:
        self.link = link
        self.witness = Witness()
        self.stopped: list[str] = []  # the instances that have announced their stop
        self.presence = self.witness.presence = PresenceSync(
            link, timing=timing, stopped=self.stopped, webhooks=webhooks
        )
        self.presence.listen(self.witness)
        self.presence.start()
        self.inside: dict[str, dict[str, PresenceEntry]] = {}
        self._clock = 0

    def join(self, project_id: str, socket_id: str) -> None:
        """Let a client join. Sockets with the same letter are one user."""
        inside = self.inside.setdefault(project_id, {})
        project = self.presence._projects.get(project_id)
        is_first = project is None or not project.replica.own  # a held connection keeps the list
        if is_first:
            self.witness.known.pop(project_id, None)
        if socket_id not in inside:
            self._clock += 1
            joined_at = f"2026-01-02T03:04:{self._clock:05}Z"
            inside[socket_id] = PresenceEntry(socket_id, f"user-{socket_id[0]}", socket_id[0].upper(), joined_at)
        self.presence.add_connection(project_id, inside[socket_id])
        if is_first and self.presence.is_complete(project_id):
            self.witness.get_list(project_id)

    async def enter(self, project_id: str, socket_id: str) -> None:
        """Let a client join, and wait for the complete list."""
        self.join(project_id, socket_id)
        await until(lambda: self.presence.is_complete(project_id))

    def leave(self, project_id: str, socket_id: str) -> None:
        self.inside.get(project_id, {}).pop(socket_id, None)
        self.presence.remove_connection(project_id, socket_id)

    def lose(self, project_id: str, socket_id: str) -> None:
        """Lose a client's connection. The client may return to any instance."""
        self.presence.hold_connection(project_id, socket_id)

    def sees(self, project_id: str) -> set[str]:
        return set(self.witness.known.get(project_id, ()))

    @property
    def is_alive(self) -> bool:
        task = self.presence._task
        return task is not None and not task.done()

    def kill(self) -> None:
        """End it without a message."""
        task = self.presence._task
        assert task is not None
        task.cancel()
        self.link.on_up.clear()
        self.link.on_down.clear()

    def hurry(self) -> None:
        self.presence._awake.set()


def lifetimes(redis: RedisServer) -> dict[str, int]:
    """The keys in Redis, each with its remaining seconds."""
    return {key.decode(): redis.do("TTL", key) for key in redis.do("KEYS", "*")}
