"""The adapter that connects a namespace with other servers, also Node.js servers, through Redis."""

from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from msgspec import UNSET, Raw

from synkora.engine.message import Message
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis.url import RedisUrl
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.event_log import BEGINNING
from synkora.redis_adapter.message_conversion import message_of, published_event_of
from synkora.redis_adapter.recovery_store import RedisStore
from synkora.redis_adapter.requests import Requests
from synkora.redis_adapter.responder import Responder
from synkora.redis_adapter.socket_codec import snapshot_of
from synkora.redis_adapter.wire_codec import (
    MEMBERS_ONLY,
    AdapterRequest,
    AdapterResponse,
    BroadcastMessage,
    Flags,
    InvalidMessage,
    Options,
    RequestType,
    RoomName,
    beginning,
    may_hold_binary,
    read_broadcast,
    room_names,
    write,
)
from synkora.sockets.answer_collector import AnswerCollector
from synkora.sockets.errors import AckTimeout
from synkora.sockets.local_adapter import LocalAdapter
from synkora.sockets.rooms import RoomNames
from synkora.sockets.snapshot import SocketSnapshot

DEFAULT_PREFIX: Final = "socket.io"
_START_WITHIN: Final = 3.0  # seconds: the server waits for Redis before it accepts clients
_CLOSE_WITHIN: Final = 1.0  # seconds
_VOLATILE: Final[dict[str, Any]] = {"volatile": True}
_NO_FLAGS: Final[dict[str, Any]] = {}
_RELAY: Final[dict[str, Any]] = {MEMBERS_ONLY: True}
_VOLATILE_RELAY: Final[dict[str, Any]] = {"volatile": True, MEMBERS_ONLY: True}


class RedisAdapter:
    """Applies a namespace's operations on many sockets, on all servers that share a Redis.

    The sockets of this server are served first, with or without Redis. `prefix` begins the names of all channels: the
    `key` of Node.js' adapter. `timeout` is how many seconds other servers have to answer `fetch_sockets` and
    `all_rooms`. `store` keeps the events of the namespace for recovery.
    """

    def __init__(
        self,
        namespace: str,
        local: LocalAdapter,
        link: Link,
        *,
        prefix: str = DEFAULT_PREFIX,
        timeout: float = 5,
        closed: Callable[[str], None] | None = None,
        store: RedisStore | None = None,
    ) -> None:
        channels = Channels.of(prefix, namespace)
        self.rooms = local.rooms
        self.acks = local.acks
        self.unwritable = 0  # messages nested too deeply for other servers
        self._unreadable = 0
        self._namespace = namespace
        self._local, self._link, self._channels = local, link, channels
        self._timeout = timeout
        self._closed = closed
        self._store = store
        if store is not None:
            store.serve(namespace, local.rooms)
        self._own = beginning(link.uid)
        self._requests = Requests(link, channels)
        self._responder = Responder(namespace, local, link, channels)
        self._receiver = (
            self._receive
        )  # one bound method for all channels, of which there are as many as sockets and rooms
        link.subscribe(channels.broadcasts, self._receiver)
        local.rooms.opened = self._subscribe
        local.rooms.emptied = self._unsubscribe

    @property
    def unreadable(self) -> int:
        """The number of received messages that are invalid."""
        return self._unreadable + self._requests.unreadable + self._responder.unreadable

    @staticmethod
    def from_url(url: str, *, prefix: str = DEFAULT_PREFIX, timeout: float = 5) -> "RedisAdapters":
        """Return the `adapter` for one `SocketServer`. It connects all servers with this Redis and this `prefix`.

        Raises `ValueError` for a URL that names no Redis. The server connects when it starts, continues alone while
        Redis is unavailable, and disconnects when it closes. `prefix` and `timeout` are those of the adapters.
        """
        try:
            address = RedisUrl.parse(url)
        except ValueError as error:  # without the URL, which may hold a password
            raise ValueError(f"the URL of RedisAdapter {error}") from None
        return RedisAdapters(address, prefix, timeout)

    # Broadcasts

    def _subscribe(self, room: str) -> None:
        self._link.subscribe(self._channels.room(room), self._receiver)

    def _unsubscribe(self, room: str) -> None:
        self._link.unsubscribe(self._channels.room(room))

    def broadcast(self, message: Message, rooms: RoomNames, except_rooms: RoomNames, *, local: bool = False) -> None:
        """Send `message`; to other servers over the room's channel if there is only one room."""
        self._local.broadcast(message, rooms, except_rooms)
        if local:
            return
        self._publish(message, _options(rooms, except_rooms, _flags(message)))

    def relay(self, message: Message, room: str, but: str | None = None, *, local: bool = False) -> None:
        """Send `message` to the members of `room`, on all servers."""
        self._local.relay(message, room, but)
        if not local:
            except_rooms: list[RoomName] = [] if but is None else [but]
            self._publish(message, Options([room], except_rooms, _VOLATILE_RELAY if message.volatile else _RELAY))

    def _publish(self, message: Message, options: Options) -> None:
        try:
            event = published_event_of(message, self._namespace, may_be_text=True)
            written = write(BroadcastMessage(self._link.uid, event, options))
        except InvalidMessage:
            self.unwritable += 1
            return
        self._link.publish(self._channels.broadcasts_to(options.rooms), written)

    def _receive(self, message: bytes) -> None:
        if message.startswith(self._own):
            return
        if self._store is not None and message.startswith(BEGINNING) and self._store.receive(self._namespace, message):
            return
        try:
            broadcast = read_broadcast(message)
            if broadcast.packet.nsp != self._namespace:
                return
            options = broadcast.opts
            delivery = message_of(
                broadcast.packet,
                volatile=bool(options.flag("volatile")),
                compress=options.flag("compress") is not False,
                is_plain=not may_hold_binary(message),
            )
        except InvalidMessage:
            self._unreadable += 1
            return
        rooms = room_names(options.rooms)
        if options.flag(MEMBERS_ONLY):
            excepted = None
            # A volatile event leaves out its sender alone, and the sender is on another server.
            if options.except_rooms and not delivery.volatile:
                (excepted, *_) = room_names(options.except_rooms)
            for room in rooms:
                self._local.relay(delivery, room, excepted)
        else:
            self._local.broadcast(delivery, rooms, self._known(room_names(options.except_rooms)))

    def _known(self, rooms: list[str]) -> list[str]:
        """Return the rooms with sockets of this server. To look for other sockets would cost time for each message."""
        return [room for room in rooms if room in self.rooms or room in self.rooms.members]

    # Acks

    async def call(
        self, message: Message, rooms: RoomNames, except_rooms: RoomNames, *, timeout: float, local: bool = False
    ) -> list[Any]:
        """Send an event, and wait for the acks of all recipients, on all servers.

        Raises `AckTimeout` with the received ones, also if Redis or another server is lost meanwhile.
        """
        if local:
            return await self._local.call(message, rooms, except_rooms, timeout=timeout)
        request = self._request(
            RequestType.BROADCAST,
            packet=published_event_of(message, self._namespace),
            opts=_options(rooms, except_rooms, {**_flags(message), "timeout": round(timeout * 1000)}),
        )
        answers = AnswerCollector()
        with (
            closing(self._local.ask(message, rooms, except_rooms, answers.add)) as question,
            self._requests.poll(request, answers, question.asked),
        ):
            return await answers.wait(timeout)

    # Sockets

    async def fetch_sockets(
        self, rooms: RoomNames, except_rooms: RoomNames, *, local: bool = False
    ) -> list[SocketSnapshot]:
        """Describe sockets, this server's first. Raises `TimeoutError` if another server does not answer."""
        found = self._local.snapshots(rooms, except_rooms)
        if local:
            return found
        for response in await self._ask(RequestType.REMOTE_FETCH, opts=_options(rooms, except_rooms)):
            for description in response.sockets or ():
                try:
                    found.append(snapshot_of(description))
                except InvalidMessage:
                    self._unreadable += 1
        return found

    def sockets_join(
        self, rooms: RoomNames, except_rooms: RoomNames, joined: RoomNames, *, local: bool = False
    ) -> None:
        """Add sockets to the rooms `joined`."""
        self._local.sockets_join(rooms, except_rooms, joined)
        if not local:
            self._tell(RequestType.REMOTE_JOIN, opts=_options(rooms, except_rooms), rooms=list(joined))

    def sockets_leave(self, rooms: RoomNames, except_rooms: RoomNames, left: RoomNames, *, local: bool = False) -> None:
        """Remove sockets from the rooms `left`."""
        self._local.sockets_leave(rooms, except_rooms, left)
        if not local:
            self._tell(RequestType.REMOTE_LEAVE, opts=_options(rooms, except_rooms), rooms=list(left))

    def disconnect_sockets(
        self, rooms: RoomNames, except_rooms: RoomNames, *, close: bool, local: bool = False
    ) -> None:
        """Disconnect sockets from the namespace; with `close`, end their whole connections."""
        self._local.disconnect_sockets(rooms, except_rooms, close=close)
        if not local:
            self._tell(RequestType.REMOTE_DISCONNECT, opts=_options(rooms, except_rooms), close=close)

    async def all_rooms(self) -> set[str]:
        """Return the rooms with sockets on any server. Raises `TimeoutError` if another server does not answer."""
        found = self.rooms.names()
        for response in await self._ask(RequestType.ALL_ROOMS):
            found.update(room_names(response.rooms or ()))
        return found

    # Servers

    def server_side_emit(self, event: bytes) -> None:
        """Send an event, the JSON array of its name and arguments, to the other servers."""
        self._tell(RequestType.SERVER_SIDE_EMIT, data=Raw(event))

    async def server_side_call(self, event: bytes, *, timeout: float) -> list[Any]:
        """Send an event to the other servers, and wait for all answers.

        Raises `AckTimeout` with the received ones.
        """
        request = self._request(RequestType.SERVER_SIDE_EMIT, data=Raw(event))
        try:
            responses = await self._requests.ask(request, timeout)
        except AckTimeout as error:
            raise AckTimeout(str(error), [_answer(response) for response in error.answers]) from None
        return [_answer(response) for response in responses]

    async def server_count(self) -> int:
        """Return the number of servers with this namespace, including this one. Raises `TimeoutError` without Redis."""
        return await self._requests.count()

    def close(self) -> None:
        """Unsubscribe. `closed` is called with the name of the namespace."""
        self._link.unsubscribe(self._channels.broadcasts)
        self._requests.close()
        self._responder.close()
        if self._closed is not None:
            self._closed(self._namespace)

    def _request(self, type: RequestType, **fields: Any) -> AdapterRequest:
        return AdapterRequest(uid=self._link.uid, type=type, **fields)

    def _tell(self, type: RequestType, **fields: Any) -> None:
        self._requests.tell(self._request(type, **fields))

    async def _ask(self, type: RequestType, **fields: Any) -> list[AdapterResponse]:
        return await self._requests.ask(self._request(type, **fields), self._timeout)


class RedisAdapters:
    """Creates the adapters of one server, and owns their shared link to Redis."""

    def __init__(self, url: RedisUrl, prefix: str, timeout: float) -> None:
        self._link = Link(url, keyspace=f"synkora:{prefix}")
        self._prefix = prefix
        self._timeout = timeout
        self._namespaces: set[str] = set()
        self._store: RedisStore | None = None

    def __call__(self, namespace: str, local: LocalAdapter) -> RedisAdapter:
        """Return the adapter of a namespace. Raises `ValueError` for a second one: each server needs its own link."""
        if namespace in self._namespaces:
            raise ValueError("RedisAdapter.from_url(…) is for one server: call it for each server")
        self._namespaces.add(namespace)
        forget = self._namespaces.discard
        return RedisAdapter(
            namespace,
            local,
            self._link,
            prefix=self._prefix,
            timeout=self._timeout,
            closed=forget,
            store=self._store,
        )

    def recovery_store(self, settings: RecoverySettings) -> RedisStore:
        """Keep the events and sessions of the server in Redis."""
        self._store = RedisStore(self._link, settings, prefix=f"synkora:{self._prefix}:", channels=self._prefix)
        return self._store

    @property
    def problem(self) -> str | None:
        """Why the servers are not connected, without a password; None without a problem."""
        return self._link.problem

    async def start(self) -> None:
        """Connect; after a few seconds without Redis, continue in the background."""
        await self._link.start(_START_WITHIN)

    async def close(self) -> None:
        """Wait up to a second until Redis has received the published messages, and disconnect."""
        await self._link.close(_CLOSE_WITHIN)


def _flags(message: Message) -> dict[str, Any]:
    flags = _VOLATILE if message.volatile else _NO_FLAGS
    return flags if message.compress else {**flags, "compress": False}


def _options(rooms: RoomNames, except_rooms: RoomNames, flags: Flags = UNSET) -> Options:
    return Options([*dict.fromkeys(rooms)], [*dict.fromkeys(except_rooms)], flags)


def _answer(response: AdapterResponse) -> Any:
    return None if response.data is UNSET else response.data
