"""Synkora's events on a namespace."""

from collections import Counter
from collections.abc import Awaitable, Mapping
from math import ceil
from time import monotonic
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec
import structlog

from synkora.collaboration.access import ANSWER_WITHIN, Access, AccessPolicy, OpenAccess
from synkora.collaboration.admission import Admission
from synkora.collaboration.authentication import Authentication
from synkora.collaboration.blocks import BlockedKind, Blocks
from synkora.collaboration.draining import SHUTDOWN_EVENT, SHUTDOWN_MESSAGE, ClientDrain
from synkora.collaboration.events import CATALOGUE, check_project_id
from synkora.collaboration.expiry import Expiry
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.collaboration.kept_sessions import KeptSessions, SessionStore
from synkora.collaboration.limits import (
    EventClass,
    EventCounter,
    Limits,
    RateLimiter,
    TooManyBytes,
    TooManyRefusals,
    TooMuchForUser,
)
from synkora.collaboration.local_presence import LocalPresence
from synkora.collaboration.members import Member
from synkora.collaboration.payloads import Connected, Pong, ServerNotice
from synkora.collaboration.presence import Presence
from synkora.collaboration.projects import LEAVE_DELAY, Projects
from synkora.collaboration.rechecks import RECHECK
from synkora.collaboration.relay import Relay
from synkora.collaboration.server_events import CLIENT_EVENTS
from synkora.collaboration.spending import Spendings
from synkora.engine.addresses import rate_limit_key
from synkora.engine.counts import Counts, LocalCounts
from synkora.engine.incidents import IncidentKind, Incidents, Limit
from synkora.engine.session import Session, State
from synkora.identity.handshake import Authenticator, SignedIn
from synkora.protocol import surrogates
from synkora.protocol.json import Decoder
from synkora.protocol.timestamps import now
from synkora.sockets import packets
from synkora.sockets.errors import ConnectRefused, EventRefused
from synkora.sockets.internals import adapter_of, session_of
from synkora.sockets.namespace import Namespace
from synkora.sockets.socket import Socket

log = structlog.get_logger(__name__)

#: What a client is told that an operator keeps out.
BLOCKED: Final = "Blocked by the operators of this server"
RETRY_AFTER: Final = 10  # seconds, for who has too many connections or sends too much
#: Bytes of JSON that is decoded as a whole: that of binary events, and of all that is not relayed.
MAX_DECODED: Final = 65_536
HALF_SIZE: Final = 100  # bytes that half a surrogate pair counts as: reading one costs as much as so many others

_EVENT_LIMITS: Final = {
    EventClass.VOLATILE: Limit.VOLATILE_EVENTS,
    EventClass.EDIT: Limit.EDIT_EVENTS,
    EventClass.OTHER: Limit.OTHER_EVENTS,
}


class _ProjectArguments(msgspec.Struct, array_like=True):
    """`["join-project", projectId]`."""

    name: str
    project_id: Any = None


_PROJECT: Final[Decoder[_ProjectArguments]] = Decoder(_ProjectArguments)


def _decode_project_id(data: bytes) -> str:
    return check_project_id(_PROJECT.decode(data).project_id)


class Collaboration:
    """People in projects who see each other's work.

    `sessions` knows those that the app keeps in its database. `user_connections` counts those of each user, who may
    have some on other servers too.
    """

    def __init__(
        self,
        namespace: Namespace,
        authenticator: Authenticator,
        *,
        policy: AccessPolicy | None = None,
        limits: Limits | None = None,
        failures: FailureBackoff | None = None,
        incidents: Incidents | None = None,
        presence: Presence | None = None,
        user_connections: Counts | None = None,
        recheck: float = RECHECK,
        answer_within: float = ANSWER_WITHIN,
        sessions: SessionStore | None = None,
        leave_delay: float = LEAVE_DELAY,
    ) -> None:
        self.presence = presence or LocalPresence()
        self._limits = limits or Limits()
        self._spendings = Spendings(self._limits.user_byte_rate)
        self._incidents = Incidents() if incidents is None else incidents  # one without incidents is false
        self.access = Access(policy or OpenAccess(), answer_within=answer_within)
        self._namespace = namespace
        self._members: dict[str, Member] = {}
        self._connections = LocalCounts() if user_connections is None else user_connections  # one without any is false
        # Of those who have left the namespace over a connection that goes on.
        self._rate_limiters: WeakKeyDictionary[Session, RateLimiter] = WeakKeyDictionary()
        self.projects = Projects(namespace, self.presence, leave_delay=leave_delay)
        self._admission = Admission(
            self.access, self.projects, self._incidents, most_projects=self._limits.projects, recheck=recheck
        )
        self._draining_clients: ClientDrain | None = None
        failures = failures or FailureBackoff(0)
        self._expiry = Expiry(authenticator, failures, self._incidents)
        self._kept = None
        if sessions is not None:
            self._kept = KeptSessions(
                sessions, self._incidents, end=self._expiry.end, go_on=self._expiry.start, recheck=recheck
            )
        self.signing_in = Authentication(authenticator, failures, self._incidents, self._admit, self._kept)
        self.blocks = Blocks()
        self.disconnects: Counter[str] = Counter()  # by reason
        self.received = {event.name: EventCounter(event.event_class) for event in CATALOGUE}
        self.received |= {ask.name: EventCounter(EventClass.OTHER) for ask in CLIENT_EVENTS}
        self.received_others = EventCounter(EventClass.OTHER)
        namespace.on_connect(self.signing_in.welcome)
        namespace.on_disconnect(self._dismiss)
        namespace.before_data(self._count)
        namespace.before_ack(self._count_ack)
        namespace.on("ping", self._answer_ping)
        namespace.on("auth:refresh", self._refresh)
        namespace.route("join-project", _decode_project_id, self._join)
        namespace.route("leave-project", _decode_project_id, self._leave)
        for event in CATALOGUE:
            Relay(event, namespace, self._members, self._admission, self.presence, self._count_question)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._members)

    @property
    def members(self) -> Mapping[str, Member]:
        """Them, by the ids of their sockets."""
        return self._members

    @property
    def users(self) -> int:
        """How many users have a client here."""
        return len(self._connections)

    def disconnect(self, socket_id: str) -> bool:
        """End somebody's whole connection, if it is one of this server's; return whether it was."""
        member = self._members.get(socket_id)
        if member is None:
            return False
        member.socket.disconnect(close=True)
        return True

    def disconnect_all(self, kind: BlockedKind, name: str) -> int:
        """End all connections of a user, or from an address, to this server; return how many there were."""
        members = [
            member
            for member in self._members.values()
            if (member.user.id if kind == "user" else rate_limit_key(session_of(member.socket).request.address)) == name
        ]
        for member in members:
            member.socket.disconnect(close=True)
        return len(members)

    def members_of(self, project_id: str) -> list[Member]:
        """Those of the connections here that are in a project."""
        joined = adapter_of(self._namespace).rooms.joined(project_id)
        return [member for socket_id in joined if (member := self._members.get(socket_id)) is not None]

    def post_notice(self, project_id: str, message: str) -> None:
        """Tell everyone in a project, on all servers, what operators have to say."""
        notice = packets.event(self._namespace.name, "server:notice", (ServerNotice(message, now()),))
        adapter_of(self._namespace).relay(notice, project_id)

    def count_here(self, project_id: str) -> int:
        """How many of the connections here are in a project."""
        return len(adapter_of(self._namespace).rooms.joined(project_id))

    def begin_drain(self) -> ClientDrain:
        """Begin to send everyone here to other servers; those who are left behind are told of it as of any leaving."""
        self._draining_clients = ClientDrain(self._members.values(), self.projects)
        return self._draining_clients

    def say_goodbye(self) -> None:
        """Tell everyone here that the server is about to stop; of those who then leave nobody here is told."""
        self.projects.is_closing = True
        self._namespace.local.emit(SHUTDOWN_EVENT, {"message": SHUTDOWN_MESSAGE})

    async def close(self) -> None:
        """Ask about nobody's access any more, and close the policy's connections."""
        self._admission.close()
        self.projects.close()
        await self.access.close()
        if self._kept is not None:
            await self._kept.close()

    def _admit(self, socket: Socket, signed_in: SignedIn) -> None:
        user = signed_in.user
        blocked = self.blocks.left(user.id, session_of(socket).request.address)
        if blocked:
            self._incidents.note(IncidentKind.BLOCKED_CLIENT_REFUSED)
            raise ConnectRefused(BLOCKED, {"retryAfter": ceil(blocked)})
        if 0 < self._limits.connections <= self._connections.total(user.id):
            self._incidents.note_limit(Limit.USER_CONNECTIONS, _address(socket))
            raise ConnectRefused("Too many connections", {"retryAfter": RETRY_AFTER})
        member = Member(socket, signed_in, self._rate_limiter(socket, user.id))
        self._rate_limiters.pop(session_of(socket), None)
        self._members[socket.id] = member
        self._connections.add(user.id)
        self._expiry.start(member)
        if self._kept is not None:
            self._kept.watch(member)
        if self._draining_clients is not None:
            self._draining_clients.add(member)
        member.is_draining = session_of(socket).state is State.DRAINING  # where signing in took longer than the telling
        socket.emit("connected", Connected(socket.id, user.id, now()))
        log.info("client_connected", socketId=socket.id, userName=user.name, userId=user.id)

    def _rate_limiter(self, socket: Socket, user_id: str) -> RateLimiter:
        """What a connection may send. A second CONNECT over the same connection goes on with what is left."""
        rate_limiter = self._rate_limiters.get(session_of(socket))
        spending = self._spendings.of(user_id)
        if rate_limiter is None:
            return RateLimiter(self._limits, spending)
        rate_limiter.spending = spending
        try:
            rate_limiter.take(EventClass.OTHER)
        except EventRefused as refusal:
            raise ConnectRefused(str(refusal), refusal.details) from None
        except TooManyRefusals:
            socket.disconnect(close=True)
            raise ConnectRefused("disconnected") from None
        return rate_limiter

    def _dismiss(self, socket: Socket, reason: str) -> None:
        member = self._members.pop(socket.id)
        user = member.user
        self._connections.remove(user.id)
        self._spendings.left(user.id)
        self.disconnects[reason] += 1
        if session_of(socket).is_live:
            self._rate_limiters[session_of(socket)] = member.rate_limiter
        self._expiry.stop(member)
        if self._kept is not None:
            self._kept.drop(member)
        self._admission.leave_all(member)
        log.info(
            "client_disconnected",
            socketId=socket.id,
            userName=user.name,
            userId=user.id,
            reason=reason,
            duration=round(monotonic() - member.since, 3),
        )

    def _count(self, socket: Socket, event: str, data: bytes, attachments: tuple[bytes, ...]) -> None:
        received = self.received.get(event, self.received_others)
        received.times += 1
        member = self._members[socket.id]
        member.received += 1
        size = len(data)
        if b"\\u" in data:
            size += HALF_SIZE * surrogates.at_most(data)
        is_decoded = received.event_class is EventClass.OTHER and received is not self.received_others
        if attachments:
            size += sum(map(len, attachments))
            is_decoded = True
        self._take(member, received.event_class, size)
        if is_decoded and len(data) > MAX_DECODED:
            raise EventRefused(f"Too large: {MAX_DECODED} bytes of JSON at most")

    def _take(self, member: Member, event_class: EventClass, size: int = 0) -> None:
        """Count an event. Raises `EventRefused` for one too many."""
        try:
            member.rate_limiter.take(event_class, size)
        except TooManyBytes:
            self._incidents.note_limit(Limit.BYTES, _address(member.socket))
            raise
        except TooMuchForUser:
            self._incidents.note_limit(Limit.USER_WORK, _address(member.socket))
            raise
        except EventRefused:
            self._incidents.note_limit(_EVENT_LIMITS[event_class], _address(member.socket))
            raise
        except TooManyRefusals:
            self._cut_off(member.socket)
            raise EventRefused("disconnected") from None

    def _count_question(self, member: Member) -> None:
        """Count an event that takes a question about access, which costs as much as a join."""
        self._take(member, EventClass.OTHER)
        if member.rate_limiter.spending is not None:
            member.rate_limiter.spending.join()

    def _count_ack(self, socket: Socket, size: int) -> None:
        try:
            self._members[socket.id].rate_limiter.take_bytes(size)
        except TooManyBytes:
            self._incidents.note_limit(Limit.BYTES, _address(socket))
            raise
        except TooManyRefusals:
            self._cut_off(socket)
            raise EventRefused("disconnected") from None

    def _cut_off(self, socket: Socket) -> None:
        self._incidents.note(IncidentKind.FLOODING_CLIENT_CUT_OFF, address=_address(socket))
        socket.emit("error", {"message": "Too many events: disconnected", "retryAfter": RETRY_AFTER})
        socket.disconnect(close=True)

    def _answer_ping(self, socket: Socket, *_: object) -> None:
        socket.emit("pong", Pong(now()))

    def _refresh(
        self, socket: Socket, payload: object = None, *_: object
    ) -> dict[str, object] | Awaitable[dict[str, object]]:
        return self._expiry.refresh(self._members[socket.id], payload)

    def _join(self, socket: Socket, project_id: str, _: tuple[bytes, ...]) -> Awaitable[None] | None:
        member = self._members[socket.id]
        if member.rate_limiter.spending is not None:
            member.rate_limiter.spending.join()
        return self._admission.join(member, project_id)

    def _leave(self, socket: Socket, project_id: str, _: tuple[bytes, ...]) -> None:
        self._admission.leave(self._members[socket.id], project_id)


def _address(socket: Socket) -> str:
    return session_of(socket).request.address
