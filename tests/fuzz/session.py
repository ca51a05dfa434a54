"""Harness of a whole connection: a session, its client, and Synkora's events, without a network."""

import asyncio
import logging
from typing import Any, Final

import structlog
from tests.fuzz.identity import SECRET
from tests.fuzz.protocol import MAX_ATTACHMENTS, read_as_clients_do
from tests.support.sessions import MemoryTransport, request_of

from synkora.app.logs.configure import forward_library
from synkora.collaboration.collaboration import Collaboration
from synkora.engine.close_reasons import Reason
from synkora.engine.session import Session
from synkora.identity.sign_in import Authenticator
from synkora.identity.tokens import Keyring, sign
from synkora.protocol import socketio
from synkora.protocol.socketio import PacketType
from synkora.sockets.server import SocketServer

PROJECT: Final = b"p"
_FOREVER: Final = 3600  # seconds: a ping in the middle of an input would belong to none
_TURNS: Final = 4  # of the event loop, for what an input sets off
_FLAG_POLLING, _FLAG_CONNECT, _FLAG_JOIN = 1, 2, 4
#: What stands for a good token in an input, which cannot hold one.
PLACEHOLDER: Final = b"TOKEN"
_TOKEN: Final = sign({"id": "fuzz", "name": "Fuzz"}, SECRET, expires_in=10**9).encode()


class Site:
    """A server with a second member in a project. Its logged errors are kept."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.errors: list[str] = []
        structlog.configure(processors=[self._keep], wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        forward_library("error")
        self.loop.set_exception_handler(lambda _, context: self.errors.append(repr(context)))
        self.server = SocketServer(max_payload=100_000, ping_interval=_FOREVER, ping_timeout=_FOREVER)
        self.collaboration = Collaboration(self.server.of("/"), Authenticator(Keyring(SECRET)))
        self.onlooker = MemoryTransport()
        self.loop.run_until_complete(self._open_onlooker())

    def _keep(self, _: Any, __: str, fields: structlog.typing.EventDict) -> str:
        self.errors.append(repr(dict(fields)))
        raise structlog.DropEvent

    async def _open_onlooker(self) -> None:
        session = self.server._registry.open(request_of("EIO=4&transport=websocket"), self.onlooker)
        session.receive_text(self.onlooker, b'40{"token":"' + _TOKEN + b'"}')
        session.receive_text(self.onlooker, b'42["join-project","' + PROJECT + b'"]')
        await _turns()

    async def run(self, flags: int, parts: list[bytes]) -> None:
        """Let a client send parts: each a text packet, with a `b` a binary, or with a `w` a text of a probe."""
        name = "polling" if flags & _FLAG_POLLING else "websocket"
        transport = MemoryTransport("polling" if name == "polling" else "websocket")
        transport.lingers = name == "polling"
        session = self.server._registry.open(request_of(f"EIO=4&transport={name}"), transport)
        if flags & _FLAG_CONNECT:
            session.receive_text(transport, b'40{"token":"' + _TOKEN + b'"}')
        if flags & _FLAG_JOIN:
            session.receive_text(transport, b'42["join-project","' + PROJECT + b'"]')
        probe = MemoryTransport()
        for part in parts:
            if probe.closed_with is not None:
                probe = MemoryTransport()
            _send(session, transport, probe, part.replace(PLACEHOLDER, _TOKEN))
        await _turns()
        current = session.transport
        if current is transport and name == "polling" and not transport.discarded:
            transport.writable = True  # the client polls once more
            session.transport_ready(transport)
        session.transport_closed(current, Reason.TRANSPORT_CLOSE)
        await _turns()


def _send(session: Session, transport: MemoryTransport, probe: MemoryTransport, part: bytes) -> None:
    match part[:1]:
        case b"b":
            session.receive_binary(session.transport, part[1:])
        case b"w":
            session.probe(probe, request_of("EIO=4&transport=websocket"))
            session.receive_text(probe, part[1:])
        case b"p":
            if session.transport is transport and not transport.writable:
                transport.writable = True
                session.transport_ready(transport)
        case _:
            session.receive_text(session.transport, part)


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


_site: Site | None = None


def session(data: bytes) -> None:
    """Whatever a client sends, handlers do not fail, others get only valid packets, and nothing remains."""
    global _site  # noqa: PLW0603  # one server for all inputs, made when the first one comes
    if _site is None:
        _site = Site()
    site = _site
    site.errors.clear()
    site.onlooker.writes.clear()
    site.loop.run_until_complete(site.run(data[0] if data else 0, data[1:].split(b"\x1e")))
    assert not site.errors, site.errors
    assert site.onlooker.closed_with is None, "the onlooker was cut off"
    for packet in site.onlooker.packets:
        _check_packet(packet)
    assert len(site.server._registry) == 1, "a session was left behind"
    assert site.collaboration.connections == 1, "a member was left behind"
    assert site.collaboration.presence.project_count == 1, "a project was left behind"


def _check_packet(packet: bytes) -> None:
    assert packet[:1] == b"4", packet
    whole = socketio.decode(packet[1:], MAX_ATTACHMENTS)
    assert whole.type in (PacketType.EVENT, PacketType.BINARY_EVENT), packet
    read_as_clients_do(whole.data)
