"""The link to Redis: one connection for all that this instance does there, made again whenever it is lost."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any, Final

from synkora.engine.logs import Log, fault
from synkora.redis.connection import Answered, Command, Pending, RedisConnection
from synkora.redis.errors import LinkDown, RedisRefused, unreachable
from synkora.redis.handshake import greet, open_connection
from synkora.redis.heartbeat import LinkHeartbeat
from synkora.redis.subscriptions import Receiver, Subscriptions
from synkora.redis.uid import new_uid
from synkora.redis.url import RedisUrl

__all__ = ["Link", "LinkDown", "LinkSettings", "RedisRefused", "Script"]

_STOPPING: Final = "the server is stopping"
# The connection is good, but Redis can do nothing with it now: after a failover, another may be found by the same name.
_WRONG_REDIS: Final = ("CLUSTERDOWN", "LOADING", "MASTERDOWN", "MOVED", "READONLY")
# Redis is in trouble of its own, and what needs no memory goes on.
_TROUBLE: Final = ("BUSY", "MISCONF", "NOREPLICAS", "OOM")

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """How a link keeps itself; durations are in seconds, `max_waiting` is in bytes."""

    beat_interval: float = 2.0
    missed_beats: int = 3  # in a row, after which the connection is replaced
    timeout: float = 5.0  # for a connection to be made and greeted, and for Redis to take all when the link is closed
    first_delay: float = 0.1  # before a new attempt; each further one waits twice as long
    longest_delay: float = 5.0
    steady_after: float = 1.0  # a connection that worked for so long has the delays begin again
    max_waiting: int = 33_554_432


@dataclass(frozen=True)
class Script:
    """The text of a Lua script, and the name under which Redis remembers it."""

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
    """One connection to Redis, over which commands and messages go in one order, each way.

    Everything is written at the end of the turn, at once, in the order of the calls. `uid` names this instance, as
    `new_uid` makes it; without one it is new for each link. `problem` says what is wrong, for operators; it holds no
    password. What is in `on_up` is called when Redis can be used, with all subscriptions made, and what is in `on_down`
    when it no longer can.
    """

    def __init__(self, url: RedisUrl, settings: LinkSettings | None = None, uid: str = "") -> None:
        self.uid = uid or new_uid()
        self.on_up: list[Callable[[], None]] = []
        self.on_down: list[Callable[[], None]] = []
        self.published = 0
        self.dropped = 0  # messages that were to be published while the link was down
        self.reconnects = 0
        self._url = url
        self._settings = settings or LinkSettings()
        self._beat_channel = b"synkora:beat:" + self.uid.encode()
        self._subscriptions = Subscriptions()
        self._subscriptions.add(self._beat_channel, self._heard)
        self._connection: RedisConnection | None = None  # that has been greeted
        self._up: RedisConnection | None = None  # that has also brought a beat back
        self._up_for = -1.0  # seconds that this connection was up, once it has ended; negative where it never was
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
        """Why Redis cannot be used, or what troubles it though it can; None where all is well."""
        return self._down or self._trouble

    @property
    def received(self) -> int:
        """How many messages have come, heartbeats included."""
        return self._received + (self._connection.received if self._connection else 0)

    @property
    def round_trip(self) -> float | None:
        """What the last heartbeat took, in seconds; None while the link is down."""
        return self._heartbeat.round_trip if self._up and self._heartbeat else None

    async def start(self, within: float) -> bool:
        """Connect, and go on trying in the background; whether the link is up after `within` seconds at most."""
        self._task = asyncio.get_running_loop().create_task(self._stay_connected())
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._came_up.wait()
        return self.is_up

    async def close(self, within: float | None = None) -> None:
        """Have Redis take all that was written, then end the link; `on_down` is not called.

        Each of the two takes at most `within` seconds, by default the link's timeout.
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
        """Send a message to all who are subscribed; dropped while the link is down."""
        up = self._up
        if up is None:
            self.dropped += 1
            return
        self.published += 1
        if self._subscriptions.new:
            up.change("SUBSCRIBE", self._subscriptions.take_new())
        up.publish(channel, message)

    def subscribe(self, channel: bytes, receive: Receiver) -> None:
        """Have each message of a channel handed to `receive`, which replaces the channel's receiver if it has one.

        Nothing is received while the link is down; the subscription is made again before `on_up`.
        """
        self._subscriptions.add(channel, receive)
        if self._connection is not None:
            self._connection.arm()

    def unsubscribe(self, channel: bytes) -> None:
        """Nothing of the channel is received from now on; one that is not subscribed changes nothing."""
        self._subscriptions.drop(channel)
        if self._connection is not None:
            self._connection.arm()

    def call(self, *command: bytes | str | int, answered: Answered | None = None) -> asyncio.Future[Any]:
        """Redis' reply to a command. The future raises `LinkDown` or `RedisRefused`; it need not be awaited.

        A future wakes its reader a turn later, when messages that came after the reply may have been received before
        it. `answered`, if given, is called with the reply at its own place among the messages.
        """
        return self._request(command, Pending(answered))

    def run(
        self,
        script: Script,
        keys: Sequence[bytes | str],
        args: Sequence[bytes | str | int],
        answered: Answered | None = None,
    ) -> asyncio.Future[Any]:
        """A script's reply; the rest as with `call`.

        What the script itself publishes comes before its reply or after it, depending on Redis' version.
        """
        rest = (len(keys), *keys, *args)
        whole: Command = ("EVAL", script.text, *rest)
        # A script's first run brings its text, so that Redis need not ask for it after later commands have run.
        if self._up is None or script.sha not in self._up.scripts:
            future = self._request(whole, Pending(answered))
        else:
            future = self._request(("EVALSHA", script.sha, *rest), Pending(answered, whole))
        if self._up is not None:
            self._up.scripts.add(script.sha)
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
        """Learn from what became of a script how Redis is: unlike other commands, scripts make changes."""
        error = None if run.cancelled() else run.exception()
        trouble = str(error) if isinstance(error, RedisRefused) and error.code in _TROUBLE else None
        if isinstance(error, RedisRefused) and error.code in _WRONG_REDIS and self._up is not None:
            self._up.end(str(error))
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("redis_troubled", problem=trouble or "none any more")

    async def _stay_connected(self) -> None:
        settings = self._settings
        delay = settings.first_delay
        while True:
            self._up_for = -1.0
            await self._one_connection()
            if self._up_for >= settings.steady_after:
                delay = settings.first_delay
            # Not all instances at once.
            await asyncio.sleep(delay * secrets.SystemRandom().uniform(0.5, 1))
            delay = min(delay * 2, settings.longest_delay)

    async def _one_connection(self) -> None:
        timeout = self._settings.timeout
        connection = RedisConnection(self._ended, self._settings.max_waiting)
        try:
            async with asyncio.timeout(timeout):
                await open_connection(connection, self._url)
                await greet(connection, self._url, f"synkora-{self.uid}")
            self._begin(connection)
            await connection.over.wait()
        except TimeoutError:
            connection.end(f"Redis did not answer within {timeout:g} s")
        except (LinkDown, RedisRefused) as error:
            connection.end(str(error))
        except OSError as error:
            connection.end(unreachable(error))
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not end the trying
            log.error("redis_connection_failed", **fault(error))
            connection.end(f"the connection to Redis failed: {type(error).__name__}")
        finally:
            connection.end(_STOPPING)
            await connection.gone.wait()

    def _begin(self, connection: RedisConnection) -> None:
        """Make the subscriptions; all is well when a beat has come back."""
        settings = self._settings
        self._connection = connection
        self._heartbeat = LinkHeartbeat(
            settings.beat_interval,
            settings.missed_beats,
            lambda beat: connection.publish(self._beat_channel, beat),
            lambda: connection.end("Redis has fallen silent: heartbeats through it do not come back"),
        )
        connection.receivers = {self._beat_channel: self._heard}
        connection.before_write = self._settle
        self._subscriptions.forget_told()
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
            log.info("redis_up", address=self._url.address)
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
            log.warning("redis_down", address=self._url.address, problem=problem)
        self._down, self._trouble = problem, None
        if up is not None and problem != _STOPPING:
            _tell(self.on_down)


def _tell(listeners: list[Callable[[], None]]) -> None:
    for listener in listeners:
        try:
            listener()
        except Exception as error:  # noqa: BLE001  # one listener's fault is no other's
            log.error("redis_listener_failed", **fault(error))
