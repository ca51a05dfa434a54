"""Decides where a request is answered: here or where its session is, and how it gets there."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from synkora.engine.close_reasons import Reason
from synkora.engine.handshake import HandshakeRefused
from synkora.engine.registry import Registry
from synkora.engine.request import parse_query
from synkora.engine.session import Session, State
from synkora.engine.transports.websocket_heads import Peer, split_target
from synkora.serving.forward_signature import HEADER, BadSignature, Verifier, sign, verify
from synkora.serving.forwarding import Forwarder
from synkora.serving.hand_over import MAX_DATA, WorkerSockets
from synkora.serving.owners import Owner, Owners, tag_of

#: The first line of a request: its path and its query. Both patterns take time in proportion to the data: no client can
#: make them search.
_FIRST_LINE: Final = re.compile(rb"(?:GET|POST) (/[^ ?\r\n]*)\?([^ \r\n]*) HTTP/1\.1\r\n")
#: A session's id with the tag of its owner, that needs no decoding. Other requests are forwarded after they are parsed.
_SID: Final = re.compile(rb"(?:[\w.-]*\.)?([A-Za-z0-9]{1,40})\.[\w-]+")
#: Bytes of a first line that are searched before the request has a turn. A longer one shares the turns of strangers.
_LONGEST_LINE: Final = 2048
_FORWARDED_METHODS: Final = (b"GET", b"POST")


class CannotForward(Exception):
    """The instance forwards as many requests as it may, or stops: a load balancer may ask another one."""


def _drain(session: Session) -> None:
    session.drain(Reason.SERVER_SHUTTING_DOWN)


@dataclass(frozen=True, slots=True)
class SharedSessions:
    """What an instance needs to reach the sessions of `owners`, and to be reached by them.

    Its own sessions have `tag` in their ids, and requests to it are signed with `key`. `workers` is the folder of the
    sockets of this machine's workers, if there are others. At most `most` requests are forwarded at a time, 0 meaning
    any number. `send_away` gets each session whose WebSocket passes through an instance that stops, and drains it.
    """

    tag: str
    key: bytes
    owners: Owners
    workers: Path | None = None
    most: int = 0
    send_away: Callable[[Session], None] = _drain


class Route(NamedTuple):
    """Where a request is answered: by `owner`, which gets it with the header `signature`, or here if there is none.

    `peer` is the client, of a request that another instance has forwarded.
    """

    owner: Owner | None = None
    signature: tuple[bytes, bytes] = (b"", b"")
    peer: Peer | None = None


_HERE: Final = Route()


class SessionRouter:
    """Routes the requests of one instance.

    A request goes to the instance that the id of its session names, which never forwards it further: so no request goes
    in circles. Only requests for Socket.IO's path are forwarded, and only to live instances.
    """

    def __init__(
        self, shared: SharedSessions, registry: Registry, forwarder: Forwarder, workers: WorkerSockets | None
    ) -> None:
        self.forwarder = forwarder
        self._tag = shared.tag
        self._own = shared.tag.encode()
        self._owners = shared.owners
        self._registry = registry
        self._settings = registry.settings
        self._workers = workers
        self._verifier = Verifier(shared.key)
        self._send_away = shared.send_away

    @property
    def is_closing(self) -> bool:
        """Whether this instance stops."""
        return self._registry.is_closing

    def is_elsewhere(self, data: bytes) -> bool:
        """Whether the request that begins with `data` names a session of another instance that lives.

        Takes little time, whatever the data.
        """
        found = _FIRST_LINE.match(data, 0, _LONGEST_LINE)
        tag = None if found is None else tag_in_query(found[2])
        if tag is None or tag == self._own:
            return False
        name = tag.decode()
        return (self._workers is not None and self._workers.has(name)) or self._owners.find(name) is not None

    def hand_over(self, transport: asyncio.Transport, data: bytes) -> bool:
        """Pass a connection to the worker of this machine that owns the session of the request in `data`.

        `data` is all that was read since the last response. Return whether the connection has left this process.
        """
        if self._workers is None or len(data) > MAX_DATA:
            return False
        found = _FIRST_LINE.match(data)
        if found is None or not self._settings.serves(found[1].decode("latin-1")):
            return False
        tag = tag_in_query(found[2])
        if tag is None or tag == self._own:
            return False
        if transport.get_extra_info("ssl_object") is not None or transport.get_write_buffer_size():
            return False
        if not self._workers.pass_on(tag.decode(), transport.get_extra_info("socket").fileno(), data):
            return False
        transport.abort()
        self.forwarder.counts.total["handed over"] += 1
        return True

    def route(self, method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]], peer: Peer) -> Route:
        """Return where a request is answered. `target` is without scheme and host.

        Raises `BadSignature` for a request that claims to be forwarded, and `CannotForward`.
        """
        signatures = [value for name, value in headers if name == HEADER]
        sid = self._sid_in(target)
        tag = tag_of(sid)
        if signatures:
            return self._route_signed(signatures, sid, method, target)
        if tag is None or tag == self._tag or method not in _FORWARDED_METHODS:
            return _HERE
        owner = self._owners.find(tag)
        if owner is None:
            return _HERE  # which refuses the id as unknown
        if self.forwarder.is_full:
            raise CannotForward("Too many forwarded requests")
        return Route(owner, (HEADER, sign(owner.key, method, target, peer)))

    def _route_signed(self, signatures: list[bytes], sid: str, method: bytes, target: bytes) -> Route:
        tag = tag_of(sid)
        if len(signatures) > 1 or tag is None:
            raise BadSignature("for another instance")
        if tag == self._tag:
            # Strangers can have requests signed without end. Those for no session have no effect, however often.
            is_once = self._registry.knows(sid)
            return Route(peer=self._verifier.check(signatures[0], method, target, is_once=is_once))
        sibling = self._owners.find(tag)
        if sibling is None or self._workers is None or not self._workers.has(tag):
            raise BadSignature("for another instance")
        # Another instance has reached a worker beside the owner: they share a port. The owner refuses a repetition.
        verify(sibling.key, signatures[0], method, target, time.time())
        if self.forwarder.is_full:
            raise CannotForward("Too many forwarded requests")
        return Route(sibling._replace(url=""), (HEADER, signatures[0]))

    def end(self, target: bytes) -> None:
        """End what passes through another instance, which stops, of one of our sessions: a poll or a WebSocket.

        The client goes on over another instance: after a poll at once, after a WebSocket with a new connection.
        """
        asked = parse_query(split_target(target)[1])
        try:
            session = self._registry.find(asked.get("sid", ""))
        except HandshakeRefused:
            return  # it has ended
        if asked.get("transport") != "websocket":
            session.release_poll()
        elif session.transport.name != "websocket":
            session.refuse_probe()
        elif session.state is State.OPEN:
            self._send_away(session)

    def _sid_in(self, target: bytes) -> str:
        """Return the id of the session of a request; empty if there is none."""
        if b"sid=" not in target and b"%" not in target:
            return ""
        path, query = split_target(target)
        return parse_query(query).get("sid", "") if self._settings.serves(path) else ""


def tag_in_query(query: bytes) -> bytes | None:
    """Return the tag in the last `sid` of a query; None if there is none, or if the id needs decoding."""
    last = (b"&" + query).rfind(b"&sid=")
    found = _SID.fullmatch(query[last + 4 :].partition(b"&")[0]) if last >= 0 else None
    return None if found is None else found[1]
