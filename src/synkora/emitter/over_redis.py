"""An emitter's way over Redis: in the format of Node.js' emitter, or through the servers' event log."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final

from msgspec import UNSET, Raw

from synkora.emitter.ports import EmitFailed, Target
from synkora.engine.message import Message
from synkora.recovery.ports import LoggedEvent, LogUnavailable
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link, LinkDown, RedisRefused
from synkora.redis.url import RedisUrl
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.event_log import RedisLog
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

_UID: Final = "emitter"  # of Node.js' emitter
_CLOSE_WITHIN: Final = 1.0  # seconds


class RedisWay:
    """A `Way` to the servers that share a Redis and a `prefix`. It subscribes to nothing, and is no server to others.

    With `recovery`, which is that of the servers, events that are not volatile go through the servers' event log.
    """

    def __init__(self, url: str, *, prefix: str, recovery: RecoverySettings | None, timeout: float) -> None:
        try:
            address = RedisUrl.parse(url)
        except ValueError as error:  # without the URL, which may hold a password
            raise ValueError(f"the URL of an emitter {error}") from None
        self._link = Link(address, keyspace=f"synkora:{prefix}")
        self._prefix = prefix
        self._recovery = recovery
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
        is_kept = self._recovery is not None and not target.is_volatile
        if target.once and not is_kept:
            raise ValueError("once needs an event that is kept: recovery=True, and not volatile")
        await self._connect()
        if is_kept:
            await self._append(target, draft)
            return
        message = packets.event_of_json(target.namespace, draft.data, draft.attachments)
        if self._recovery is not None and draft.data.endswith(b'"]'):  # a client takes the string for a position
            data = (await self._position(target.namespace)).after_event(draft.data)
            message = packets.event_of_json(target.namespace, data, draft.attachments)
        await self._publish(target, channels, message)

    async def _append(self, target: Target, draft: packets.Draft) -> None:
        once = _name(target) if target.once else ""
        log = self._log(target.namespace)
        try:
            async with asyncio.timeout(self._timeout):
                await log.append_once(
                    draft.data, target.rooms, target.except_rooms, once=once, attachments=draft.attachments
                )
        except (LogUnavailable, TimeoutError):
            raise EmitFailed(self._problem()) from None

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
        await self._call("PUBLISH", channels.broadcasts_to(options.rooms), written)

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
        await self._connect()
        await self._call("PUBLISH", channels.requests, request)

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

    async def _connect(self) -> None:
        """Wait until Redis is there. The first call connects, and the link reconnects by itself from then on."""
        if not self._is_started:
            self._is_started = True
            await self._link.start(self._timeout)
        try:
            async with asyncio.timeout(self._timeout):
                await self._is_up.wait()
        except TimeoutError:
            raise EmitFailed(self._problem()) from None

    async def _call(self, *command: bytes | str | int) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._link.call(*command)
        except (LinkDown, RedisRefused, TimeoutError) as error:
            raise EmitFailed(str(error) or self._problem()) from None

    def _problem(self) -> str:
        return self._link.problem or f"Redis did not answer within {self._timeout:g} s"

    def _log(self, namespace: str) -> RedisLog:
        log = self._logs.get(namespace)
        if log is None:
            log = self._logs[namespace] = RedisLog(
                self._link,
                namespace,
                self._recovery or RecoverySettings(),
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
        try:
            async with asyncio.timeout(self._timeout):
                position = await found
        except TimeoutError:
            position = None
        if position is None:
            raise EmitFailed(self._problem())
        return position


def _options(target: Target) -> Options:
    return Options([*target.rooms], [*target.except_rooms], UNSET)


def _name(target: Target) -> str:
    """Return a short name of an event: the same key for other rooms is another event."""
    text = "\0".join(("emitter", target.once, *sorted(target.rooms)))
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _to_nobody(_: LoggedEvent) -> None:
    """Deliver an event to this process' clients: it has none."""
