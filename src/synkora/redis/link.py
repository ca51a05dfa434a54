"""The link to Redis: one connection for everything, with reconnection."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any, Final

from synkora.engine.logs import Log, fault
from synkora.redis.connection import Answered, Command, Pending, RedisConnection
from synkora.redis.discovery import Discovery
from synkora.redis.errors import TROUBLE, LinkDown, RedisRefused, unreachable
from synkora.redis.handshake import open_connection, prepare, sign_in
from synkora.redis.heartbeat import LinkHeartbeat
from synkora.redis.subscriptions import Receiver, Subscriptions
from synkora.redis.uid import new_uid
from synkora.redis.url import RedisUrl, Server

__all__ = ["Link", "LinkDown", "LinkSettings", "RedisRefused", "Script"]

_STOPPING: Final = "the server is stopping"
KEYSPACE: Final = "synkora"
#: Bytes of channels' names that are subscribed before Redis confirms the first of them. Those of very many projects are
#: more than a link may hold: the link would end each time.
_SUBSCRIBED_AT_ONCE: Final = 65_536
_CHANNEL_EXTRA: Final = 20  # bytes of the command for each channel besides its name

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Settings of a link. Durations are in seconds, `max_waiting` is in bytes."""

    beat_interval: float = 2.0
    missed_beats: int = 3  # consecutive ones, after which the connection is replaced
    timeout: float = 5.0  # for connecting and the handshake, and for the last writes before a close
    first_delay: float = 0.1  # before a new attempt; doubled by each further attempt
    longest_delay: float = 5.0
    longest_delay_of_several: float = 1.0  # so that all instances find the next master within the leases of presence
    steady_after: float = 1.0  # a connection that was up for this time resets the delay
    max_waiting: int = 33_554_432


@dataclass(frozen=True)
class Script:
    """The text of a Lua script, and its SHA-1, by which Redis stores it."""

    text: str

    @classmethod
    def load(cls, package: str, *names: str) -> "Script":
        """Return the script of a package's Lua files, joined in this order."""
        folder = files(package)
        return cls("\n".join((folder / f"{name}.lua").read_text("utf-8") for name in names))

    @cached_property
    def sha(self) -> str:
        """The SHA-1 of the text in hexadecimal digits: https://redis.io/docs/latest/commands/evalsha/."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Link:
    """One connection to Redis. Commands and messages keep their order in each direction.

    All commands of a turn are written together at its end, in the order of the calls. `uid` names this instance, by
    default with `new_uid`. `problem` is a message for operators, without a password. The callbacks in `on_up` are
    called when Redis becomes available, after all subscriptions; those in `on_down` when it becomes unavailable.

    The names of all keys begin with `keyspace`. In a Redis Cluster the keyspace is in braces, which puts all keys into
    one hash slot, and the link is to the node that has this slot. `data_id` names the data of the connected Redis: it
    changes with each failover and each start of Redis, and is empty if the user may not ask for it (INFO).
    """

    def __init__(
        self, url: RedisUrl, settings: LinkSettings | None = None, uid: str = "", *, keyspace: str = KEYSPACE
    ) -> None:
        self.uid = uid or new_uid()
        self.on_up: list[Callable[[], None]] = []
        self.on_down: list[Callable[[], None]] = []
        self.published = 0
        self.dropped = 0  # messages that could not be published while the link was down
        self.reconnects = 0
        self.data_id = ""
        self._discovery = Discovery(url, keyspace)
        self._address = url.address
        self._settings = settings or LinkSettings()
        self._beat_channel = b"synkora:beat:" + self.uid.encode()
        self._subscriptions = Subscriptions()
        self._subscriptions.add(self._beat_channel, self._heard)
        self._connection: RedisConnection | None = None  # after the handshake
        self._up: RedisConnection | None = None  # after the first returned beat
        self._up_for = -1.0  # seconds for which the ended connection was up; negative if it never was
        self._up_since = 0.0
        self._heartbeat: LinkHeartbeat | None = None
        self._received = 0  # over former connections
        self._down: str | None = "Redis has not been connected yet"
        self._trouble: str | None = None
        self._came_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Whether Redis can be used now."""
        return self._up is not None

    @property
    def problem(self) -> str | None:
        """Why Redis cannot be used, or a problem of Redis itself; None without a problem."""
        return self._down or self._trouble

    @property
    def received(self) -> int:
        """Number of received messages, heartbeats included."""
        return self._received + (self._connection.received if self._connection else 0)

    @property
    def round_trip(self) -> float | None:
        """Round trip of the last heartbeat in seconds; None while the link is down."""
        return self._heartbeat.round_trip if self._up and self._heartbeat else None

    async def start(self, within: float) -> bool:
        """Connect, with retries in the background; return whether the link is up within `within` seconds."""
        self._task = asyncio.get_running_loop().create_task(self._stay_connected())
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._came_up.wait()
        return self.is_up

    async def close(self, within: float | None = None) -> None:
        """Wait until Redis has received everything, then close the link; `on_down` is not called.

        Each step takes at most `within` seconds, by default the link's timeout.
        """
        if within is None:
            within = self._settings.timeout
        with suppress(LinkDown, RedisRefused, TimeoutError):
            async with asyncio.timeout(within):
                await self.call("PUBLISH", self._beat_channel, b"")
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=within)

    def publish(self, channel: bytes, message: bytes) -> None:
        """Send a message to all subscribers; dropped while the link is down."""
        up = self._up
        if up is None:
            self.dropped += 1
            return
        self.published += 1
        if self._subscriptions.new:
            up.change("SUBSCRIBE", self._subscriptions.take_new())
        up.publish(channel, message)

    def subscribe(self, channel: bytes, receive: Receiver) -> None:
        """Call `receive` with each message of a channel, instead of the channel's earlier receiver if there is one.

        Nothing is received while the link is down; subscriptions are renewed before `on_up`.
        """
        self._subscriptions.add(channel, receive)
        if self._connection is not None:
            self._connection.arm()

    def unsubscribe(self, channel: bytes) -> None:
        """Stop receiving a channel; without effect if it is not subscribed."""
        self._subscriptions.drop(channel)
        if self._connection is not None:
            self._connection.arm()

    def call(self, *command: bytes | str | int, answered: Answered | None = None) -> asyncio.Future[Any]:
        """Return a future of Redis' reply. The future raises `LinkDown` or `RedisRefused`, and need not be awaited.

        A future wakes its reader a turn later, after messages that followed the reply. `answered`, if given, is called
        with the reply in its order among the messages.
        """
        return self._request(command, Pending(answered))

    def key(self, name: bytes | str) -> bytes:
        """Return a key's name in this Redis, for `call`. `run` does the same with its keys."""
        return self._discovery.key(name)

    def run(
        self,
        script: Script,
        keys: Sequence[bytes | str],
        args: Sequence[bytes | str | int],
        answered: Answered | None = None,
    ) -> asyncio.Future[Any]:
        """Return a future of a script's reply, like `call`. The script may use no key but `keys`.

        Messages that the script publishes come before or after its reply, depending on Redis' version.
        """
        if self._discovery.is_cluster:
            keys = [self.key(name) for name in keys]
        # Without the script's text, Redis would refuse the first run, and the connection would end.
        up = self._up
        if up is not None and up.loads_scripts and script.sha not in up.scripts:
            up.scripts.add(script.sha)
            self._request(("SCRIPT", "LOAD", script.text), Pending(None))
        is_known = up is not None and script.sha in up.scripts
        which = ("EVALSHA", script.sha) if is_known else ("EVAL", script.text)
        future = self._request((*which, len(keys), *keys, *args), Pending(answered))
        if up is not None:
            up.scripts.add(script.sha)
            future.add_done_callback(self._judge)
        return future

    def _request(self, command: Command, pending: Pending) -> asyncio.Future[Any]:
        up = self._up
        if up is None:
            pending.fail(LinkDown(self._down))
        else:
            if self._subscriptions.new:
                up.change("SUBSCRIBE", self._subscriptions.take_new())
            up.request(command, pending)
        return pending.future

    def _judge(self, run: asyncio.Future[Any]) -> None:
        """Update the state of Redis from a script's outcome: unlike other commands, scripts write."""
        error = None if run.cancelled() else run.exception()
        trouble = str(error) if isinstance(error, RedisRefused) and error.code in TROUBLE else None
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("redis_troubled", problem=trouble or "solved")

    async def _stay_connected(self) -> None:
        settings = self._settings
        delay = settings.first_delay
        while True:
            self._up_for = -1.0
            await self._one_connection()
            if self._up_for < 0:
                self._discovery.move_on()
            if self._up_for >= settings.steady_after:
                delay = settings.first_delay
            # Random, so that instances do not all reconnect at once.
            await asyncio.sleep(delay * secrets.SystemRandom().uniform(0.5, 1))
            longest = settings.longest_delay_of_several if self._discovery.asks else settings.longest_delay
            delay = min(delay * 2, longest)

    async def _one_connection(self) -> None:
        timeout = self._settings.timeout
        connection = RedisConnection(self._ended, self._settings.max_waiting)
        try:
            async with asyncio.timeout(timeout):
                server = await self._connect(connection)
            self._subscriptions.forget_told()
            for some in _parts(self._subscriptions.take_new()):
                async with asyncio.timeout(timeout):
                    await connection.subscribe(some)
            self._begin(connection)
            watching = asyncio.create_task(self._watch(connection, server))
            try:
                await connection.over.wait()
            finally:
                watching.cancel()
        except TimeoutError:
            connection.end(f"Redis did not answer within {timeout:g} s")
        except (LinkDown, RedisRefused) as error:
            connection.end(str(error))
        except OSError as error:
            connection.end(unreachable(error))
        except Exception as error:  # noqa: BLE001  # no error may end the retries
            log.error("redis_connection_failed", **fault(error))
            connection.end(f"the connection to Redis failed: {type(error).__name__}")
        finally:
            connection.end(_STOPPING)
            await connection.gone.wait()

    async def _watch(self, connection: RedisConnection, server: Server) -> None:
        await self._discovery.left(server)
        connection.end("the Sentinels have made another Redis the master")

    async def _connect(self, connection: RedisConnection) -> Server:
        server = await self._discovery.find()
        self._address = server.address
        await open_connection(connection, server)
        hello = await sign_in(connection, server, f"synkora-{self.uid}")
        self._discovery.notice(hello)
        self.data_id = await prepare(connection, hello, self._discovery.database, *self._discovery.own_keys)
        return server

    def _begin(self, connection: RedisConnection) -> None:
        """Start to beat. The link is up after the first returned beat."""
        settings = self._settings
        self._connection = connection
        self._heartbeat = LinkHeartbeat(
            settings.beat_interval,
            settings.missed_beats,
            lambda beat: connection.publish(self._beat_channel, beat),
            lambda: connection.end("Redis has fallen silent: heartbeats through it do not return"),
        )
        connection.receivers = {self._beat_channel: self._heard}
        connection.before_write = self._settle
        self._settle()
        self._heartbeat.start()

    def _settle(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.change("SUBSCRIBE", self._subscriptions.take_new())
            connection.change("UNSUBSCRIBE", self._subscriptions.take_old())

    def _heard(self, beat: bytes) -> None:
        if self._heartbeat is not None:
            self._heartbeat.heard(beat)
        connection = self._connection
        if self._up is None and connection is not None:
            connection.receivers = self._subscriptions.receivers
            self._up, self._down = connection, None
            self._up_since = asyncio.get_running_loop().time()
            self.reconnects += self._came_up.is_set()
            self._came_up.set()
            log.info("redis_up", address=self._address)
            _tell(self.on_up)

    def _ended(self, problem: str) -> None:
        up, self._up = self._up, None
        if up is not None:
            self._up_for = asyncio.get_running_loop().time() - self._up_since
        if self._connection is not None:
            self._received += self._connection.received
            self._connection = None
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if problem != self._down and problem != _STOPPING:
            log.warning("redis_down", address=self._address, problem=problem)
        self._down, self._trouble = problem, None
        if up is not None and problem != _STOPPING:
            _tell(self.on_down)


def _parts(channels: list[bytes]) -> Iterator[list[bytes]]:
    """Yield the channels in parts that are subscribed at once."""
    part: list[bytes] = []
    size = 0
    for channel in channels:
        part.append(channel)
        size += len(channel) + _CHANNEL_EXTRA
        if size >= _SUBSCRIBED_AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _tell(listeners: list[Callable[[], None]]) -> None:
    for listener in listeners:
        try:
            listener()
        except Exception as error:  # noqa: BLE001  # one callback's failure must not affect the others
            log.error("redis_listener_failed", **fault(error))
