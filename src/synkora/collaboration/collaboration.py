"""Synkora on a namespace: connects its parts, admits and counts members, and measures and limits what they send."""

from collections import Counter
from collections.abc import Awaitable, Collection, Iterable, Mapping
from functools import partial
from math import ceil
from time import monotonic
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec
import structlog

from synkora.collaboration.access import (
    ANSWER_TIMEOUT,
    Access,
    AccessPolicy,
    AccessUnavailable,
    OpenAccess,
    Role,
)
from synkora.collaboration.admission import Admission
from synkora.collaboration.authentication import Authentication
from synkora.collaboration.blocks import BlockedKind, Blocks
from synkora.collaboration.draining import SHUTDOWN_EVENT, SHUTDOWN_MESSAGE, ClientDrain, announce_leaves
from synkora.collaboration.edited_projects import EditedProjects
from synkora.collaboration.events import CATALOGUE, check_project_id
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.collaboration.kept_sessions import KeptSessions, SessionLookup
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
from synkora.collaboration.periodic_checks import RECHECK
from synkora.collaboration.presence import Presence, PresenceEntry
from synkora.collaboration.projects import LEAVE_DELAY, PRESENCE_GRACE, Projects
from synkora.collaboration.relay import Relay
from synkora.collaboration.server_events import CLIENT_EVENTS
from synkora.collaboration.token_expiry import TokenExpiry
from synkora.collaboration.user_work import UserWorks
from synkora.engine.addresses import rate_limit_key
from synkora.engine.close_reasons import Reason
from synkora.engine.counts import Counts, LocalCounts
from synkora.engine.incidents import IncidentKind, Incidents, Limit
from synkora.engine.session import Session, State
from synkora.engine.turn_budget import TurnBudget
from synkora.identity.sign_in import Authenticator, SignedIn
from synkora.protocol import surrogates
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder, Raw, encode, most_values
from synkora.protocol.timestamps import now
from synkora.recovery.ports import SavedSession
from synkora.recovery.settings import LOG_AGE
from synkora.sockets import packets
from synkora.sockets.errors import ConnectRefused, EventRefused
from synkora.sockets.internals import (
    adapter_of,
    emit_once,
    is_connecting,
    may_return,
    recovery_of,
    returned_rooms,
    session_of,
    sockets_of,
)
from synkora.sockets.namespace import Namespace
from synkora.sockets.socket import Socket
from synkora.sockets.socket_recovery import ReplaySize
from synkora.tracing import NO_TRACER, Tracer

log = structlog.get_logger(__name__)

#: The message to a blocked client.
BLOCKED: Final = "Blocked by the operators of this server"
RETRY_AFTER: Final = 10  # seconds; for clients with too many connections or events
#: Bytes of JSON that may be decoded completely: of binary events, and of events that are not relayed, such as the one
#: with a token, which has up to 16,384 characters.
MAX_DECODED: Final = 20_480
MAX_VALUES: Final = 2000  # `[`, `{` and `,` of an event with attachments: all instances decode it, in Python
VALUE_SIZE: Final = 200  # bytes that each of these counts as besides
_MOST_UNSHARED: Final = 4  # connections of a user; further ones share a part of each turn of the event loop
HALF_SIZE: Final = 100  # bytes that a lone surrogate counts as; to decode one costs as much as this many bytes
HALVES_TIMES: Final = 4  # a text with lone surrogates counts as this many texts; it is searched and decoded repeatedly

_EVENT_LIMITS: Final = {
    EventClass.VOLATILE: Limit.VOLATILE_EVENTS,
    EventClass.EDIT: Limit.EDIT_EVENTS,
    EventClass.OTHER: Limit.OTHER_EVENTS,
}


class _ProjectArguments(msgspec.Struct, array_like=True):
    """`["join-project", projectId]`."""

    name: str
    project_id: Any = None


#: A user's name and image.
_DESCRIPTION: Final[Decoder[tuple[str, str | None]]] = Decoder(tuple[str, str | None])
_PROJECT: Final[Decoder[_ProjectArguments]] = Decoder(_ProjectArguments)
_ANYTHING: Final[Decoder[Raw]] = Decoder(Raw)  # is checked, and not built
_ARGUMENTS: Final[Decoder[list[object]]] = Decoder(list[Any])


def _decode_project_id(data: bytes) -> str:
    return check_project_id(_PROJECT.decode(data).project_id)


class Collaboration:
    """Members in projects who see each other's work.

    `sessions` finds sessions in the app's database. `user_connections` counts connections per user, over all servers of
    a cluster. On a server with recovery, a lost connection stays in the lists of its projects for `presence_grace`
    seconds, and the log keeps events for `log_age` seconds.
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
        answer_timeout: float = ANSWER_TIMEOUT,
        sessions: SessionLookup | None = None,
        leave_delay: float = LEAVE_DELAY,
        presence_grace: float = PRESENCE_GRACE,
        log_age: float = LOG_AGE,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.presence = presence or LocalPresence()
        self._limits = limits or Limits()
        self._works = UserWorks(self._limits.user_byte_rate, self._limits.join_size)
        self._incidents = Incidents() if incidents is None else incidents  # empty incidents are false
        self.access = Access(policy or OpenAccess(), answer_timeout=answer_timeout)
        self._namespace = namespace
        self._members: dict[str, Member] = {}
        self._connections = LocalCounts() if user_connections is None else user_connections  # empty counts are false
        # Of sockets that have left the namespace while their connection continues.
        self._rate_limiters: WeakKeyDictionary[Session, RateLimiter] = WeakKeyDictionary()
        self.projects = Projects(
            namespace,
            self.presence,
            leave_delay=leave_delay,
            grace=presence_grace,
            max_lost=self._limits.connections,
        )
        self._admission = Admission(
            self.access, self.projects, self._incidents, max_projects=self._limits.projects, recheck=recheck
        )
        self._draining_clients: ClientDrain | None = None
        failures = failures or FailureBackoff(0)
        self._endings = TurnBudget()  # very many connections may end at once, each in very many projects
        self._expiry = TokenExpiry(authenticator, failures, self._incidents, self._endings)
        self._kept = None
        if sessions is not None:
            self._kept = KeptSessions(
                sessions, self._incidents, end=self._expiry.end, extend=self._expiry.start, recheck=recheck
            )
        self._signed_in: WeakKeyDictionary[Session, SignedIn] = WeakKeyDictionary()  # until they are admitted
        self.authentication = Authentication(authenticator, failures, self._incidents, self._identify, self._kept)
        self.blocks = Blocks()
        self.disconnects: Counter[str] = Counter()  # by reason
        self.received = {event.name: EventCounter(event.event_class) for event in CATALOGUE}
        self.received |= {ask.name: EventCounter(EventClass.OTHER) for ask in CLIENT_EVENTS}
        self.received_others = EventCounter(EventClass.OTHER)
        recovery = recovery_of(namespace)
        if recovery is not None:
            recovery.may_replay = self._may_replay
            recovery.count_read = self._count_read
            recovery.about = self._describe
            recovery.on_start = self._expect_returns
            recovery.tracer = tracer
        namespace.use(self._limit_connects)
        namespace.use(self.authentication.authenticate)
        namespace.on_connect(self._welcome)
        namespace.on_disconnect(self._dismiss)
        namespace.before_data(self._count)
        namespace.before_ack(self._count_ack)
        namespace.route("ping", _ANYTHING.decode, self._answer_ping)
        namespace.route("auth:refresh", _ARGUMENTS.decode, self._refresh)
        namespace.route("join-project", _decode_project_id, self._join)
        namespace.route("leave-project", _decode_project_id, self._leave)
        edited = EditedProjects(log_age, self._note_user_work)
        for event in CATALOGUE:
            Relay(event, namespace, self._members, self._admission, self.presence, self._count_question, edited, tracer)

    @property
    def connections(self) -> int:
        """Number of connected clients."""
        return len(self._members)

    @property
    def members(self) -> Mapping[str, Member]:
        """The members, by socket id."""
        return self._members

    @property
    def users(self) -> int:
        """Number of users with a client on this server."""
        return len(self._connections)

    def disconnect(self, socket_id: str) -> bool:
        """Close a client's whole connection; return False if it is not a client of this server."""
        member = self._members.get(socket_id)
        if member is None:
            return False
        member.socket.disconnect(close=True)
        return True

    def disconnect_all(self, kind: BlockedKind, name: str) -> int:
        """Close all connections of a user or address to this server, in some turns; return their number."""
        members = [
            member
            for member in self._members.values()
            if (member.user.id if kind == "user" else rate_limit_key(session_of(member.socket).request.address)) == name
        ]
        for member in members:
            self._close(member)
        return len(members)

    def disconnect_blocked(self) -> None:
        """Close all connections of users and addresses that are blocked."""
        for member in list(self._members.values()):
            if self.blocks.remaining(member.user.id, session_of(member.socket).request.address):
                self._close(member)

    def _close(self, member: Member) -> None:
        self._endings.run(partial(member.socket.disconnect, close=True))

    def remove(self, project_id: str, user_id: str) -> int:
        """Remove a user from a project on this server; return the number of connections that were in the project.

        The access policy is asked again when the user joins.
        """
        self.access.forget(user_id, project_id)
        self.projects.drop_lost_of(user_id, project_id)
        self._admission.refuse_returns(user_id, project_id)
        of_user = [member for member in self._members.values() if member.user.id == user_id]
        return sum([self._admission.remove(member, project_id) for member in of_user])

    def members_of(self, project_id: str) -> list[Member]:
        """Return the members of a project who are connected to this server."""
        joined = adapter_of(self._namespace).rooms.joined(project_id)
        return [member for socket_id in joined if (member := self._members.get(socket_id)) is not None]

    def post_notice(self, project_id: str, message: str) -> None:
        """Send an operator's message to all members of a project, on all servers."""
        notice = ServerNotice(message, now())
        recovery = recovery_of(self._namespace)
        if recovery is None:
            event = packets.event(self._namespace.name, "server:notice", (notice,))
            adapter_of(self._namespace).relay(event, project_id)
        else:
            recovery.publish(packets.draft("server:notice", (notice,)), (project_id,), members_only=True)

    def count_here(self, project_id: str) -> int:
        """Return the number of a project's connections to this server."""
        return len(adapter_of(self._namespace).rooms.joined(project_id))

    def begin_drain(self) -> ClientDrain:
        """Start to drain clients to other servers; other members get each leave as usual."""
        self._draining_clients = ClientDrain(self._members.values(), self.projects)
        return self._draining_clients

    def announce_leave(self, session: Session) -> None:
        """Announce a shutdown to a client that is connected through another instance, and its leave to others."""
        for socket in sockets_of(session):
            member = self._members.get(socket.id)
            if member is not None and member.socket is socket:
                announce_leaves([member], self.projects)

    def announce_shutdown(self) -> None:
        """Announce the shutdown to all clients. Later leaves are not announced."""
        self.projects.is_closing = True
        self._namespace.local.emit(SHUTDOWN_EVENT, {"message": SHUTDOWN_MESSAGE})

    async def close(self) -> None:
        """Stop all access checks, and close the connections of the policy and the session store."""
        self._admission.close()
        self.projects.close()
        await self.access.close()
        if self._kept is not None:
            await self._kept.close()

    def _identify(self, socket: Socket, signed_in: SignedIn) -> None:
        socket.identity = signed_in.user.id
        self._signed_in[session_of(socket)] = signed_in

    def _may_replay(self, socket: Socket) -> bool:
        return self._works.excess(socket.identity) <= 0

    def _count_read(self, socket: Socket, in_vain: int, found: ReplaySize) -> None:
        work = self._works.of(socket.identity)
        if work is not None:
            work.count_read(in_vain)
            work.count_replay(*found)
            self._works.store_debt(socket.identity)  # the user may have no other connection yet

    def _describe(self, socket: Socket) -> bytes:
        """Return what a user's entry in the lists needs after a restart of the server."""
        member = self._members.get(socket.id)
        return b"" if member is None else encode((member.user.name, member.user.image))

    def _expect_returns(self, lost: Iterable[SavedSession]) -> None:
        """List the clients of the previous process that may still return."""
        for session in lost:
            if session.about and session.lost_at is not None:
                try:
                    name, image = _DESCRIPTION.decode(session.about)
                except (ProtocolError, InvalidPayload):
                    continue  # the file is damaged
                entry = PresenceEntry(session.sid, session.identity, name, now(), image)
                self.projects.expect(entry, session.rooms, session.lost_at)

    def _welcome(self, socket: Socket, _: object = None) -> Awaitable[None] | None:
        """Admit a socket that is signed in, with the projects that it returns to. Raises `ConnectRefused`."""
        signed_in = self._signed_in.pop(session_of(socket), None)
        if signed_in is None:
            return None  # disconnected meanwhile
        projects = returned_rooms(socket)
        if not projects:
            self._admit(socket, signed_in)
            return None
        if self.access.is_open:
            self._admit_again(socket, signed_in, dict.fromkeys(projects, Role.EDITOR))
            return None
        return self._welcome_back(socket, signed_in, projects)

    async def _welcome_back(self, socket: Socket, signed_in: SignedIn, projects: Collection[str]) -> None:
        """Ask for the role in each project again. Without an answer, the client has to return once more."""
        try:
            roles = await self._admission.roles(signed_in, projects)
        except AccessUnavailable as error:
            self._incidents.note(IncidentKind.ACCESS_CHECK_FAILED, str(error))
            # A client does not reconnect after a refusal, but after a closed connection.
            session_of(socket).close(Reason.FORCED_SERVER_CLOSE)
            return
        if is_connecting(socket):
            self._admit_again(socket, signed_in, roles)

    def _admit_again(self, socket: Socket, signed_in: SignedIn, roles: Mapping[str, Role | None]) -> None:
        """Admit a socket that has returned, to the projects that its user has a role in."""
        self._admit(socket, signed_in)
        member = self._members[socket.id]
        work = member.rate_limiter.work
        for project_id, role in roles.items():
            if work is not None:
                work.count_join()
            self._admission.readmit(member, project_id, role)
        self.projects.drop_lost(socket.id)

    def _admit(self, socket: Socket, signed_in: SignedIn) -> None:
        user = signed_in.user
        blocked = self.blocks.remaining(user.id, session_of(socket).request.address)
        if blocked:
            self._incidents.note(IncidentKind.BLOCKED_CLIENT_REFUSED)
            raise ConnectRefused(BLOCKED, {"retryAfter": ceil(blocked)})
        if 0 < self._limits.connections <= self._connections.total(user.id):
            self._incidents.note_limit(Limit.USER_CONNECTIONS, _address(socket))
            raise ConnectRefused("Too many connections", {"retryAfter": RETRY_AFTER})
        member = Member(socket, signed_in, self._rate_limiter(socket, user.id))
        self._members[socket.id] = member
        self._connections.add(user.id)
        work = member.rate_limiter.work
        if work is not None:
            session_of(socket).requests = work.requests
        if work is not None and self._connections.total(user.id) > _MOST_UNSHARED:
            session_of(socket).budget = work.budget
            session_of(socket).hold_for(work.unfinished)
            session_of(socket).outbox.count_for(work.backlog)
        self._expiry.start(member)
        if self._kept is not None:
            self._kept.watch(member)
        if self._draining_clients is not None:
            self._draining_clients.add(member)
        member.is_draining = session_of(socket).state is State.DRAINING  # signed in after the announcement
        emit_once(socket, "connected", Connected(socket.id, user.id, now()))
        log.info("client_connected", socketId=socket.id, userName=user.name, userId=user.id)

    def _limit_connects(self, socket: Socket, _: object) -> None:
        """Count a further CONNECT over the same connection, before its token is verified. Raises `ConnectRefused`."""
        rate_limiter = self._rate_limiters.get(session_of(socket))
        if rate_limiter is None:
            return
        try:
            rate_limiter.take(EventClass.OTHER)
        except EventRefused as refusal:
            raise ConnectRefused(str(refusal), refusal.details) from None
        except TooManyRefusals:
            socket.disconnect(close=True)
            raise ConnectRefused("disconnected") from None

    def _rate_limiter(self, socket: Socket, user_id: str) -> RateLimiter:
        """Return a connection's rate limiter. A further CONNECT over the same connection continues with its state."""
        work = self._works.of(user_id)
        rate_limiter = self._rate_limiters.pop(session_of(socket), None)
        if rate_limiter is None:
            return RateLimiter(self._limits, work)
        if work is not None:
            work.count_connect()
        rate_limiter.work = work
        return rate_limiter

    def _dismiss(self, socket: Socket, reason: str) -> None:
        member = self._members.get(socket.id)
        if member is None or member.socket is not socket:
            return  # lost before it was admitted
        del self._members[socket.id]
        user = member.user
        self._connections.remove(user.id)
        self._works.store_debt(user.id)
        self.disconnects[reason] += 1
        if session_of(socket).is_live:
            self._rate_limiters[session_of(socket)] = member.rate_limiter
        self._expiry.stop(member)
        if self._kept is not None:
            self._kept.drop(member)
        self._admission.withdraw_all(member, may_return=may_return(socket, reason))
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
        if b"\\u" in data and (halves := surrogates.upper_bound(data)):
            size = size * (HALVES_TIMES if surrogates.has_half(data) else 1) + HALF_SIZE * halves
        is_decoded = received.event_class is EventClass.OTHER and received is not self.received_others
        if attachments:
            values = most_values(data) if len(data) <= MAX_DECODED else 0
            size += VALUE_SIZE * values + sum(map(len, attachments))
            is_decoded = True
        self._take(member, received.event_class, size)
        if is_decoded and len(data) > MAX_DECODED:
            raise EventRefused(f"Too large: {MAX_DECODED} bytes of JSON at most")
        if attachments and values > MAX_VALUES:
            raise EventRefused(f"Too large: {MAX_VALUES} values beside attachments at most")
        if attachments and member.rate_limiter.work is not None:
            member.rate_limiter.work.count_decoded(values)

    def _take(self, member: Member, event_class: EventClass, size: int = 0) -> None:
        """Count an event. Raises `EventRefused` above a limit."""
        try:
            member.rate_limiter.take(event_class, size)
        except TooManyBytes:
            self._incidents.note_limit(Limit.BYTES, _address(member.socket))
            raise
        except TooMuchForUser:
            self._note_user_work(member)
            raise
        except EventRefused:
            self._incidents.note_limit(_EVENT_LIMITS[event_class], _address(member.socket))
            raise
        except TooManyRefusals:
            self._cut_off(member.socket)
            raise EventRefused("disconnected") from None

    def _note_user_work(self, member: Member) -> None:
        self._incidents.note_limit(Limit.USER_WORK, _address(member.socket))

    def _count_question(self, member: Member) -> None:
        """Count an event that requires a question about access, which costs as much as a join."""
        self._take(member, EventClass.OTHER)
        if member.rate_limiter.work is not None:
            member.rate_limiter.work.count_join()

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
        emit_once(socket, "error", {"message": "Too many events: disconnected", "retryAfter": RETRY_AFTER})
        socket.disconnect(close=True)

    def _answer_ping(self, socket: Socket, *_: object) -> None:
        emit_once(socket, "pong", Pong(now()))

    def _refresh(
        self, socket: Socket, arguments: list[object], _: tuple[bytes, ...]
    ) -> dict[str, object] | Awaitable[dict[str, object]]:
        return self._expiry.refresh(self._members[socket.id], arguments[1] if len(arguments) > 1 else None)

    def _join(self, socket: Socket, project_id: str, _: tuple[bytes, ...]) -> Awaitable[None] | None:
        member = self._members[socket.id]
        if member.rate_limiter.work is not None:
            member.rate_limiter.work.count_join()
        return self._admission.admit(member, project_id)

    def _leave(self, socket: Socket, project_id: str, _: tuple[bytes, ...]) -> None:
        self._admission.withdraw(self._members[socket.id], project_id)


def _address(socket: Socket) -> str:
    return session_of(socket).request.address
