"""A link to a real Redis that sends and delivers when a test says so."""

import socket
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import hiredis
from tests.support.redis_server import RedisServer

from synkora.redis.connection import Answered, Command, Pending
from synkora.redis.errors import LinkDown
from synkora.redis.link import Link, Script
from synkora.redis.subscriptions import Receiver
from synkora.redis.url import RedisUrl

_NOTHING = object()


class ManualLink(Link):
    """Keeps messages until `send`, and received ones until `deliver`."""

    def __init__(self, redis: RedisServer) -> None:
        super().__init__(RedisUrl.parse(redis.url))
        self._port = redis.port
        self._socket: socket.socket | None = None
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._receivers: dict[bytes, Receiver] = {}
        self._unsent: deque[tuple[Command, Pending | None]] = deque()
        self._came: deque[tuple[bytes, bytes] | tuple[Pending, Any]] = deque()

    @property
    def is_up(self) -> bool:
        return self._socket is not None

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to send and nothing to deliver."""
        if self._socket is not None:
            self._do("PING")
        return not self._unsent and not self._came

    def connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), 5)
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._do("HELLO", 3)
        if self._receivers:
            self._do("SUBSCRIBE", *self._receivers)
        for tell in self.on_up:
            tell()

    def cut(self) -> None:
        """Go down: unsent and undelivered messages are lost."""
        if self._socket is None:
            return
        self._socket.close()
        self._socket = None
        for _, pending in self._unsent:
            if pending is not None:
                pending.fail(LinkDown("cut"))
        for first, _ in self._came:
            if isinstance(first, Pending):
                first.fail(LinkDown("cut"))
        self._unsent.clear()
        self._came.clear()
        for tell in self.on_down:
            tell()

    def send(self, most: int = 1000) -> None:
        while self._unsent and most > 0:
            command, pending = self._unsent.popleft()
            reply = self._do(*command)
            if pending is not None:
                self._came.append((pending, reply))
            most -= 1

    def deliver(self, most: int = 1000) -> None:
        if self._socket is not None:
            self._do("PING")  # what was published is before its reply
        while self._came and most > 0:
            first, second = self._came.popleft()
            if isinstance(first, Pending):
                first.succeed(second)
            elif first in self._receivers:
                self._receivers[first](second)
            most -= 1

    def lose(self) -> None:
        """Lose the received messages, but not the replies."""
        if self._socket is not None:
            self._do("PING")
        self._came = deque(came for came in self._came if isinstance(came[0], Pending))

    def subscribe(self, channel: bytes, receive: Receiver) -> None:
        self._receivers[channel] = receive
        if self.is_up:
            self._unsent.append((("SUBSCRIBE", channel), None))

    def unsubscribe(self, channel: bytes) -> None:
        self._receivers.pop(channel, None)
        if self.is_up:
            self._unsent.append((("UNSUBSCRIBE", channel), None))

    def _request(self, command: Command, pending: Pending) -> Any:
        if self.is_up:
            self._unsent.append((command, pending))
        else:
            pending.fail(LinkDown("cut"))
        return pending.future

    def run(self, script: Script, keys: Sequence[Any], args: Sequence[Any], answered: Answered | None = None) -> Any:
        return self._request(("EVAL", script.text, len(keys), *keys, *args), Pending(answered))

    def _do(self, *command: bytes | str | int) -> Any:
        """Redis' reply. Messages before it are kept."""
        assert self._socket is not None
        self._socket.sendall(hiredis.pack_command(cast(Any, command)))
        if command[0] in ("SUBSCRIBE", "UNSUBSCRIBE"):
            self._socket.sendall(hiredis.pack_command(cast(Any, ("PING",))))  # these have no reply but messages
        while True:
            reply = self._reader.gets()
            if reply is _NOTHING:
                data = self._socket.recv(65_536)
                assert data, "Redis has closed the connection"
                self._reader.feed(data)
            elif isinstance(reply, hiredis.PushNotification):
                if reply[0] == b"message":
                    self._came.append((reply[1], reply[2]))
            else:
                assert not isinstance(reply, hiredis.HiredisError), reply
                return reply
