"""Synkora's events on a namespace."""

from typing import Any, Final

import msgspec
import structlog

from synkora.collaboration.events import CATALOGUE, Codec, Event, check_project_id
from synkora.collaboration.members import Member
from synkora.collaboration.presence import LocalPresence, Presence
from synkora.collaboration.projects import Projects
from synkora.collaboration.signing_in import SigningIn
from synkora.collaboration.timestamps import now
from synkora.identity.handshake import Authenticator
from synkora.identity.user import User
from synkora.protocol.json import Decoder
from synkora.sockets import packets
from synkora.sockets.errors import EventRefused
from synkora.sockets.namespace import Namespace
from synkora.sockets.socket import Socket

log = structlog.get_logger(__name__)

SHUTDOWN_MESSAGE: Final = "Server is shutting down. You will be reconnected."


class _ProjectArguments(msgspec.Struct, array_like=True):
    """`["join-project", projectId]`."""

    name: str
    project_id: Any = None


_PROJECT: Final[Decoder[_ProjectArguments]] = Decoder(_ProjectArguments)


def _decode_project_id(data: bytes) -> str:
    return check_project_id(_PROJECT.decode(data).project_id)


class Collaboration:
    """People in projects who see each other's work."""

    def __init__(self, namespace: Namespace, authenticator: Authenticator, presence: Presence | None = None) -> None:
        self.presence = presence or LocalPresence()
        self._namespace = namespace
        self._members: dict[str, Member] = {}
        self._projects = Projects(namespace, self.presence)
        namespace.on_connect(SigningIn(authenticator, self._admit).welcome)
        namespace.on_disconnect(self._dismiss)
        namespace.on("ping", self._answer_ping)
        namespace.route("join-project", _decode_project_id, self._join)
        namespace.route("leave-project", _decode_project_id, self._leave)
        for event in CATALOGUE:
            self._relay(event)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._members)

    def say_goodbye(self) -> None:
        """Tell everyone that the server is about to stop."""
        self._namespace.emit("server:shutdown", {"message": SHUTDOWN_MESSAGE})

    def _admit(self, socket: Socket, user: User) -> None:
        self._members[socket.id] = Member(socket, user)
        socket.emit("connected", {"socketId": socket.id, "userId": user.id, "timestamp": now()})
        log.info("client_connected", socketId=socket.id, userName=user.name, userId=user.id)

    def _dismiss(self, socket: Socket, reason: str) -> None:
        member = self._members.pop(socket.id)
        self._projects.leave_all(member)
        log.info(
            "client_disconnected", socketId=socket.id, userName=member.user.name, userId=member.user.id, reason=reason
        )

    def _answer_ping(self, socket: Socket, *_: object) -> None:
        socket.emit("pong", {"timestamp": now()})

    def _join(self, socket: Socket, project_id: str, _: tuple[bytes, ...]) -> None:
        self._projects.join(self._members[socket.id], project_id)

    def _leave(self, socket: Socket, project_id: str, _: tuple[bytes, ...]) -> None:
        self._projects.leave(self._members[socket.id], project_id)

    def _relay(self, event: Event) -> None:
        codec, adapter, namespace = Codec(event), self._namespace.adapter, self._namespace.name

        def relay(socket: Socket, payload: Any, attachments: tuple[bytes, ...]) -> None:
            member = self._members[socket.id]
            project_id: str = payload.projectId
            if project_id not in member.projects:
                raise EventRefused(f"{event.name}: join the project first")
            delivery = (codec.deliver(payload, member.sender),)
            message = packets.event(namespace, event.name, delivery, volatile=event.volatile, attachments=attachments)
            adapter.broadcast(message, (project_id,), (socket.id,))
            if event.logged:
                log.info(
                    "relayed", what=event.logged, projectId=project_id, userName=member.user.name, socketId=socket.id
                )

        self._namespace.route(event.name, codec.decode, relay)
