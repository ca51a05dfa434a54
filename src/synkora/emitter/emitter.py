"""Emitters: the methods of a namespace for a backend that has no clients."""

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, Self

from synkora.emitter.background import Background
from synkora.emitter.ports import Target, Way
from synkora.extras import advice
from synkora.recovery.settings import RecoverySettings
from synkora.sockets import options, other_names
from synkora.sockets.rooms import check_rooms
from synkora.sockets.server_side_events import server_event
from synkora.tracing import checked_traceparent, current_traceparent

_KEY: Final = re.compile("[!-~]{1,200}")  # an Idempotency-Key of the HTTP API
_SERVERS_ALONE: Final = "an emitter gets no answers"
_INSTEAD: Final = {
    **dict.fromkeys(("call", "server_side_call", "fetch_sockets", "all_rooms"), _SERVERS_ALONE),
    "local": "an emitter has no sockets of its own",
}


class EmitterOperators:
    """The methods that select the sockets, and say how an event is sent. Each returns another emitter.

    The emitters share one connection.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        prefix: str = "socket.io",
        recovery: bool | RecoverySettings = False,
        timeout: float = 5,
    ) -> None:
        self._target = Target()
        self._open(_maker(url, token, prefix, recovery, timeout))

    def _open(self, make: Callable[[], Way]) -> None:
        """Keep the way of the events, or what makes it."""
        raise NotImplementedError

    def of(self, namespace: str) -> Self:
        """Select a namespace in place of the main one."""
        options.of_type("namespace", namespace, str, "a text")
        if not namespace.startswith("/") or "," in namespace or "#" in namespace:
            raise ValueError(f"{namespace!r} is no namespace: it starts with /, and has no comma and no #")
        return self._with(namespace=namespace)

    def to(self, *rooms: str) -> Self:
        """Add the members of these rooms. A socket in several rooms gets an event once. Without rooms: all sockets."""
        return self._with(rooms=tuple(dict.fromkeys((*self._target.rooms, *check_rooms(rooms)))))

    def in_(self, *rooms: str) -> Self:
        """The same as `to`."""
        return self.to(*rooms)

    def except_(self, *rooms: str) -> Self:
        """Leave out the members of these rooms, or sockets by their ids."""
        return self._with(except_rooms=(*self._target.except_rooms, *check_rooms(rooms)))

    @property
    def volatile(self) -> Self:
        """Let events be dropped for slow consumers. They are not kept for recovery."""
        return self._with(is_volatile=True)

    def compress(self, value: bool) -> Self:
        """Send events that are not kept uncompressed if `value` is False."""
        return self._with(is_compressed=options.of_type("compress", value, bool, "True or False"))

    def once(self, key: str) -> Self:
        """Publish an event once, however often it is emitted with this `key` to the same rooms.

        A key has 1 to 200 characters of ASCII and no spaces. The servers remember the last 100,000 keys. Only for
        events that are kept.
        """
        if not _KEY.fullmatch(options.of_type("key", key, str, "a text, such as the id of the change")):
            raise ValueError(
                f"the key of an event has 1 to 200 characters of ASCII and no spaces, unlike {key[:250]!r}"
            )
        return self._with(once=key)

    def _traced(self, traceparent: str | None) -> Target:
        """Return the target of an event in a trace, by default that of the current span of OpenTelemetry."""
        if traceparent is None:
            given = current_traceparent()
        else:
            given = checked_traceparent(options.of_type("traceparent", traceparent, str, "a text"))
        return replace(self._target, traceparent=given) if given else self._target

    def _with(self, **changes: Any) -> Self:
        changed = copy.copy(self)
        vars(changed).update(_target=replace(self._target, **changes))
        return changed


@other_names.naming(_INSTEAD)
class Emitter(EmitterOperators):
    """Sends events to the clients of servers, from a backend without clients: a job, a script, a web application.

    With the URL of a Redis, as in `RedisAdapter.from_url`, it reaches all servers that share the Redis and `prefix`,
    also those of Node.js. With `recovery=True`, for servers with recovery, its events are ordered and kept for clients
    that return, as long as those of the servers; without, they are not kept. `RecoverySettings` that differ from the
    servers' raise `ValueError` when an event is sent.

    With the address of `synkora serve` and one of its API_TOKENs as `token`, it uses the HTTP API: `to` takes the ids
    of projects, `except_` the id of one socket, and `emit` one object. The catalogue checks the events, and they are
    kept. `in_` takes the ids of sockets for `disconnect_sockets(close=True)`. The API has none of the other methods.

    It connects at its first use, belongs to the event loop of that use, and reconnects by itself. `async with` or
    `close` ends the connection. A method returns when Redis or the server has confirmed, and raises `EmitFailed` if
    neither does within `timeout` seconds. Raises `ValueError` and `TypeError` for invalid arguments.
    """

    def _open(self, make: Callable[[], Way]) -> None:
        self._way = make()

    async def emit(
        self, event: str, *args: object, attachments: tuple[bytes, ...] = (), traceparent: str | None = None
    ) -> None:
        """Send an event. The arguments are those of `Broadcast.emit`.

        An event that is kept belongs to the trace of `traceparent` (W3C Trace Context), by default that of the
        current span of OpenTelemetry, if the program uses it.
        """
        await self._way.emit(self._traced(traceparent), event, args, attachments)

    async def sockets_join(self, *rooms: str) -> None:
        """Add the sockets to rooms."""
        await self._way.join(self._target, check_rooms(rooms))

    async def sockets_leave(self, *rooms: str) -> None:
        """Remove the sockets from rooms."""
        await self._way.leave(self._target, check_rooms(rooms))

    async def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect the sockets from the namespace; with `close`, end their whole connections."""
        await self._way.disconnect(self._target, close=close)

    async def server_side_emit(self, event: str, *args: object) -> None:
        """Send an event to the servers. Raises `TypeError` for bytes and what JSON cannot hold."""
        await self._way.server_side_emit(self._target, server_event(event, args))

    async def close(self) -> None:
        """Disconnect. The emitter cannot be used again."""
        await self._way.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@other_names.naming(_INSTEAD)
class SyncEmitter(EmitterOperators):
    """An `Emitter` for programs without an event loop, such as Celery's tasks and Django's views.

    The arguments and methods are those of `Emitter`. Each method waits for the confirmation. One emitter serves all
    threads, over one connection of a thread of its own, and each forked process makes its own connection: so a module
    can make one emitter for all. Do not use it within a coroutine, whose event loop would wait, nor with gevent.
    """

    def _open(self, make: Callable[[], Way]) -> None:
        make()  # an invalid argument is an error here, not at the first use
        self._background = Background(make)

    def emit(
        self, event: str, *args: object, attachments: tuple[bytes, ...] = (), traceparent: str | None = None
    ) -> None:
        """Send an event. The arguments are those of `Emitter.emit`."""
        target = self._traced(traceparent)  # here, since the thread of the connection has no current span
        self._background.run(lambda way: way.emit(target, event, args, attachments))

    def sockets_join(self, *rooms: str) -> None:
        """Add the sockets to rooms."""
        self._background.run(lambda way: way.join(self._target, check_rooms(rooms)))

    def sockets_leave(self, *rooms: str) -> None:
        """Remove the sockets from rooms."""
        self._background.run(lambda way: way.leave(self._target, check_rooms(rooms)))

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect the sockets from the namespace; with `close`, end their whole connections."""
        self._background.run(lambda way: way.disconnect(self._target, close=close))

    def server_side_emit(self, event: str, *args: object) -> None:
        """Send an event to the servers. Raises `TypeError` for bytes and what JSON cannot hold."""
        self._background.run(lambda way: way.server_side_emit(self._target, server_event(event, args)))

    def close(self) -> None:
        """Disconnect. The end of the program does so, too."""
        self._background.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _maker(
    url: str, token: str | None, prefix: str, recovery: bool | RecoverySettings, timeout: float
) -> Callable[[], Way]:
    """Return a function that makes a way: over HTTP for a URL of HTTP. Each needs its own libraries."""
    options.of_type("url", url, str, "a text")
    if recovery is not True and recovery is not False:
        options.of_type("recovery", recovery, RecoverySettings, "True, False or a RecoverySettings(…)")
    options.seconds("timeout", timeout)
    if url.lower().startswith(("http://", "https://")):
        if not token:
            raise ValueError("an emitter over HTTP needs a token: one of the server's API_TOKEN")
        try:
            from synkora.emitter.over_http import HttpWay
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(advice("An emitter over HTTP", error), name=error.name) from None
        return partial(HttpWay, url, token=token, timeout=timeout)
    if token is not None:
        raise ValueError("token is for an emitter over HTTP: the URL of a Redis has its own password")
    try:
        from synkora.emitter.over_redis import RedisWay
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(advice("An emitter over Redis", error), name=error.name) from None
    return partial(RedisWay, url, prefix=prefix, recovery=recovery, timeout=timeout)
