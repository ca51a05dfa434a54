"""An emitter's way over Redis: in the format of Node.js' emitter, or through the servers' event log."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from typing import Any, Final

from msgspec import UNSET, Raw

from synkora.emitter.ports import EmitFailed, Target
from synkora.engine.logs import Log
from synkora.engine.message import Message
from synkora.recovery.ports import LoggedEvent, LogUnavailable, new_event
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link, LinkDown, RedisRefused
from synkora.redis.url import RedisUrl
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.event_log import RedisLog
from synkora.redis_adapter.log_bounds import declared, differences
from synkora.redis_adapter.log_keys import LogKeys
from synkora.redis_adapter.message_conversion import published_event_of
from synkora.redis_adapter.wire_codec import (
    AdapterRequest,
    BroadcastMessage,
    InvalidMessage,
    Options,
    RequestType,
    write,
    write_json,
)
from synkora.sockets import packets
from synkora.tracing import Trace

_UID: Final = "emitter"  # of Node.js' emitter
_CLOSE_WITHIN: Final = 1.0  # seconds

log = Log(__name__)


class RedisWay:
    """A `Way` to the servers that share a Redis and a `prefix`. It subscribes to nothing, and is no server to others.

    With `recovery`, events that are not volatile go through the servers' event log. It keeps as much as the servers
    say, and settings that differ are refused.
    """

    def __init__(self, url: str, *, prefix: str, recovery: bool | RecoverySettings, timeout: float) -> None:
        try:
            address = RedisUrl.parse(url)
        except ValueError as error:  # without the URL, which may hold a password
            raise ValueError(f"the URL of an emitter {error}") from None
        self._link = Link(address, keyspace=f"synkora:{prefix}")
        self._prefix = prefix
        self._keeps = recovery is not False
        self._given = recovery if isinstance(recovery, RecoverySettings) else None
        self._compared: set[str] = set()  # namespaces
        self._warned: set[str] = set()  # namespaces
        self._timeout = timeout
        self._is_up = asyncio.Event()
        self._link.on_up.append(self._is_up.set)
        self._link.on_down.append(self._is_up.clear)
        self._is_started = False
        self._logs: dict[str, RedisLog] = {}

    async def emit(self, target: Target, event: str, args: tuple[object, ...], attachments: tuple[bytes, ...]) -> None:
        """Send an event, through the log or, like Node.js' emitter, past it."""
        channels = Channels.of(self._prefix, target.namespace)
        draft = packets.draft(event, args, attachments, compress=target.is_compressed)
        is_kept = self._keeps and not target.is_volatile
        if target.once and not is_kept:
            raise ValueError("once needs an event that is kept: recovery=True, and not volatile")
        async with self._connected():
            if not target.is_volatile and target.namespace not in self._compared:
                await self._compare(target.namespace)
            if is_kept:
                await self._append(target, draft)
                return
            data = draft.data
            if self._keeps and data.endswith(b'"]'):  # a client takes the string for a position
                data = (await self._position(target.namespace)).after_event(data)
            await self._publish(target, channels, packets.event_of_json(target.namespace, data, draft.attachments))

    async def _compare(self, namespace: str) -> None:
        """Compare what is kept with what the servers keep. Raises `ValueError`."""
        try:
            bounds = await declared(self._link, LogKeys(f"synkora:{self._prefix}:", namespace))
        except RedisRefused:
            self._compared.add(namespace)  # this user of Redis may not ask
            return
        if bounds is None and self._keeps:  # they may start later: the next emit asks again
            self._warn("emitter_alone_keeps", namespace, "no server keeps events: recovery=True is for those that do")
            return
        if bounds is not None and self._given is not None and (found := differences(self._given, bounds)):
            raise ValueError(f"recovery differs from that of the servers: {found}. recovery=True takes what they have")
        if bounds is not None and not self._keeps:
            problem = "servers keep events, and this emitter does not: recovery=True"
            self._warn("emitter_keeps_nothing", namespace, problem)
        self._compared.add(namespace)

    def _warn(self, event: str, namespace: str, problem: str) -> None:
        if namespace not in self._warned:
            log.warning(event, namespace=namespace, problem=problem)
        self._warned.add(namespace)

    async def _append(self, target: Target, draft: packets.Draft) -> None:
        once = _name(target) if target.once else ""
        event = new_event(draft.data, target.rooms, target.except_rooms, attachments=draft.attachments)
        await self._log(target.namespace).append_once(event, once, Trace(target.traceparent))

    async def _publish(self, target: Target, channels: Channels, message: Message) -> None:
        flags: dict[str, Any] = {}
        if target.is_volatile:
            flags["volatile"] = True
        if not target.is_compressed:
            flags["compress"] = False
        options = Options([*target.rooms], [*target.except_rooms], flags)
        try:
            published = published_event_of(message, target.namespace, may_be_text=True)
            written = write(BroadcastMessage(_UID, published, options))
        except InvalidMessage as error:
            raise ValueError(f"the event is {error}") from None
        await self._link.call("PUBLISH", channels.broadcasts_to(options.rooms), written)

    async def join(self, target: Target, rooms: Collection[str]) -> None:
        """Add the sockets to rooms."""
        await self._tell(target, RequestType.REMOTE_JOIN, opts=_options(target), rooms=[*rooms])

    async def leave(self, target: Target, rooms: Collection[str]) -> None:
        """Remove the sockets from rooms."""
        await self._tell(target, RequestType.REMOTE_LEAVE, opts=_options(target), rooms=[*rooms])

    async def disconnect(self, target: Target, *, close: bool) -> None:
        """Disconnect the sockets."""
        await self._tell(target, RequestType.REMOTE_DISCONNECT, opts=_options(target), close=close)

    async def server_side_emit(self, target: Target, event: bytes) -> None:
        """Send an event to the servers."""
        await self._tell(target, RequestType.SERVER_SIDE_EMIT, uid=_UID, data=Raw(event))

    async def _tell(self, target: Target, type: RequestType, **fields: Any) -> None:
        request = write_json(AdapterRequest(type=type, **fields))
        channels = Channels.of(self._prefix, target.namespace)
        async with self._connected():
            await self._link.call("PUBLISH", channels.requests, request)

    async def close(self) -> None:
        """Disconnect, and let Redis forget this sender."""
        if not self._is_started:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_WITHIN):
                for log in self._logs.values():
                    await log.retire()
        for log in self._logs.values():
            log.close()
        await self._link.close(_CLOSE_WITHIN)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        """Wait until Redis is there, and let the block take the rest of the time. Raises `EmitFailed`.

        The first call connects. From then on the link reconnects by itself.
        """
        try:
            async with asyncio.timeout(self._timeout):
                if not self._is_started:
                    self._is_started = True
                    await self._link.start(0)
                await self._is_up.wait()
                yield
        except (LinkDown, LogUnavailable, RedisRefused, TimeoutError) as error:
            problem = self._link.problem or str(error) or f"Redis did not answer within {self._timeout:g} s"
            raise EmitFailed(problem) from None

    def _log(self, namespace: str) -> RedisLog:
        log = self._logs.get(namespace)
        if log is None:
            log = self._logs[namespace] = RedisLog(
                self._link,
                namespace,
                self._given or RecoverySettings(),
                _to_nobody,
                tuple,
                prefix=f"synkora:{self._prefix}:",
                channels=self._prefix,
            )
        return log

    async def _position(self, namespace: str) -> Position:
        """Ask Redis for the present position of the servers' clients."""
        found: asyncio.Future[Position | None] = asyncio.get_running_loop().create_future()

        def located(position: Position | None) -> None:
            if not found.done():
                found.set_result(position)

        self._log(namespace).locate(located)
        position = await found
        if position is None:
            raise LogUnavailable
        return position


def _options(target: Target) -> Options:
    return Options([*target.rooms], [*target.except_rooms], UNSET)


def _name(target: Target) -> str:
    """Return a short name of an event: the same key for other rooms is another event."""
    text = "\0".join(("emitter", target.once, *sorted(target.rooms)))
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _to_nobody(_: LoggedEvent) -> None:
    """Deliver an event to this process' clients: it has none."""
