"""The table of the HTTP API's endpoints, and what each does."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

import msgspec
import structlog
from msgspec import UNSET

from synkora import __version__
from synkora.app.all_instances import Nothing, Topic
from synkora.app.api.messages import (
    BlockInForce,
    BlocksInForce,
    Closed,
    ClusterState,
    EventToPublish,
    InstanceState,
    KeptEvent,
    KeptEvents,
    NewBlock,
    Notice,
    PresentUser,
    PresentUsers,
    Published,
    ReadParameters,
)
from synkora.app.api.problems import Problem
from synkora.app.instance import Instance
from synkora.app.moderation import ProjectNamed, TooManyBlocks
from synkora.collaboration.blocks import MAX_BLOCKS, BlockedKind, blocked_address
from synkora.collaboration.events import CATALOGUE
from synkora.collaboration.publishing import InvalidPublication, Publication, Publisher
from synkora.protocol.errors import InvalidPayload
from synkora.protocol.json import Decoder, Raw
from synkora.recovery.ports import EventLog, Incomplete, LoggedEvent, LogUnavailable
from synkora.recovery.position import Position, parse
from synkora.sockets.internals import recovery_of

Method = Literal["GET", "POST", "PUT", "DELETE"]

_ROSTER: Final = Topic[ProjectNamed, PresentUsers]("roster", ProjectNamed, PresentUsers, keeps_halves=True)
_STATE: Final = Topic[Nothing, InstanceState]("state", Nothing, InstanceState)
_LOGGED: Final[Decoder[tuple[Raw, ...]]] = Decoder(tuple[Raw, ...])
_NAME: Final[Decoder[str]] = Decoder(str)
_WHOLE: Final = {event.name: event.whole for event in CATALOGUE if event.whole}
_USER: Final[Decoder[PresentUser]] = Decoder(PresentUser, keeps_halves=True)
_GONE: Final = {
    Incomplete.EPOCH: "the log has begun again since: load the state of the project again",
    Incomplete.TRIMMED: "events after this position are no longer kept: load the state of the project again",
    Incomplete.TOO_MANY: "more events follow this position than can be read: load the state of the project again",
}
_NOT_KEPT: Final = "events cannot be kept now: send the request again, with its Idempotency-Key"
_NOT_KNOWN: Final = "Redis cannot be reached, so the members on other instances are not known"
_NOT_DONE: Final = "Redis cannot be reached: nothing has been done; send the request again"
_DONE_HERE: Final = "Redis cannot be reached: this instance alone has done it; send the request again"
_SOON: Final = {"retry-after": "1"}
_SHOWN: Final = 200  # characters of a list of instances
_NO_RECOVERY: Final = "RECOVERY is false, so no events are kept"

log = structlog.get_logger(__name__)


class Call(NamedTuple):
    """A checked request: the parameters of its path and its query, its body, and its Idempotency-Key.

    The `traceparent` is as it was sent.
    """

    path: dict[str, str]
    query: Any
    body: Any
    key: str
    address: str
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `query` and `body` are the types of the parameters and the body, if any.

    `answer` is the type of the answer, and `problems` are the statuses of refusals besides those of every request.
    """

    method: Method
    path: str
    summary: str
    act: "Callable[[Endpoints, Call], Awaitable[object]]"
    answer: type
    query: type[msgspec.Struct] | None = None
    body: Any = None
    problems: tuple[int, ...] = ()
    description: str = ""


class Endpoints:
    """Does what the app's backend asks for, on all instances."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._moderation = instance.moderation
        self._collaboration = instance.collaboration
        namespace = instance.server.of("/")
        self._publisher = Publisher(namespace)
        self._tracer = instance.tracer
        self._recovery = recovery_of(namespace)
        instance.instances.answer(_ROSTER, self._roster_here)
        instance.instances.answer(_STATE, self._state_here)

    # Events

    async def publish(self, call: Call) -> Published:
        project_id = call.path["projectId"]
        asked = call.body if isinstance(call.body, list) else [call.body]
        publications = [self._prepared(project_id, event, number) for number, event in enumerate(asked)]
        positions: list[Position | None] = []
        name = asked[0].event if len({event.event for event in asked}) == 1 else "several events"
        with self._tracer.publish("api", name, project_id, call.traceparent, len(asked)) as trace:
            for number, publication in enumerate(publications):
                once = _name(project_id, call.key, number) if call.key else ""
                try:
                    positions.append(await self._publisher.publish(project_id, publication, once, trace))
                except LogUnavailable:
                    raise Problem(503, _NOT_KEPT, _SOON) from None
                await asyncio.sleep(0)  # a turn of the event loop for each event, which may have thousands of readers
        names = ", ".join(event.event for event in asked)
        log.debug("api_published", projectId=project_id, events=names, address=call.address)
        return Published([None if position is None else str(position) for position in positions])

    def _prepared(self, project_id: str, event: EventToPublish, number: int) -> Publication:
        try:
            return self._publisher.prepare(project_id, event.event, bytes(event.data), event.except_)
        except InvalidPublication as error:
            raise Problem(422, f"[{number}] {error}") from None

    async def read(self, call: Call) -> KeptEvents:
        if self._recovery is None:
            raise Problem(503, _NO_RECOVERY)
        events = self._recovery.log
        since = None if call.query.since is UNSET else parse(call.query.since)
        if since is None and call.query.since is not UNSET:
            raise Problem(422, "since: this is not a position")
        now = await _position(events)
        if since is None:
            return KeptEvents([], str(now), more=False)
        project_id = call.path["projectId"]
        found = await events.read((project_id,), since)
        if found is Incomplete.UNAVAILABLE:
            raise _no_events()
        if isinstance(found, Incomplete):
            raise Problem(410, _GONE[found])
        mine = [event for event in found if project_id in event.rooms]
        shown, has_more = mine[: call.query.limit], len(mine) > call.query.limit
        epoch = now.epoch
        last = Position(epoch, shown[-1].number) if has_more else Position(epoch, _last(found, now, since))
        return KeptEvents([_kept(event, epoch) for event in shown], str(last), has_more)

    # Presence

    async def presence(self, call: Call) -> PresentUsers:
        answers, unanswered = await self._instance.instances.ask(_ROSTER, ProjectNamed(call.path["projectId"]))
        fullest = max(answers.values(), key=lambda roster: roster.count, default=PresentUsers([], 0))
        if not fullest.count:  # others may have members, and then they alone know the list
            self._check_link(_NOT_KNOWN)
            if unanswered:
                raise Problem(503, f"no answer from {', '.join(unanswered)[:_SHOWN]}", _SOON)
        return fullest

    async def _roster_here(self, named: ProjectNamed) -> PresentUsers:
        """The list as this instance knows it: complete if it has a member in the project, otherwise empty."""
        roster = self._collaboration.presence.roster(named.project_id)
        return PresentUsers([_USER.decode(bytes(user)) for user in roster.users], roster.count)

    # Moderation

    def _check_link(self, words: str) -> None:
        """Raise `Problem` without Redis: the others cannot be asked, and after some seconds they are not known."""
        cluster = self._instance.cluster
        if cluster is not None and not cluster.link.is_up:
            raise Problem(503, words, _SOON)

    async def remove(self, call: Call) -> Closed:
        done = await self._moderation.remove(call.path["projectId"], call.path["userId"])
        log.warning("api_removed", **call.path, connections=done.connections, address=call.address)
        self._check_link(_DONE_HERE)
        return Closed(*done)

    async def post_notice(self, call: Call) -> Closed:
        message = call.body.message.strip()
        if not message:
            raise Problem(422, "message: must not be blank")
        project_id = call.path["projectId"]
        if project_id in self._collaboration.members:
            raise Problem(422, "projectId: this is the id of a socket, and a notice is for a project")
        self._check_link(_NOT_DONE)
        done = await self._moderation.post_notice(project_id, message)
        log.warning("api_noticed", projectId=project_id, address=call.address)
        return Closed(*done)

    async def disconnect(self, call: Call) -> Closed:
        socket_id = call.path["socketId"]
        done = await self._moderation.disconnect(socket_id)
        log.warning("api_disconnected", name=socket_id, connections=done.connections, address=call.address)
        self._check_link(_DONE_HERE)
        return Closed(*done)

    async def disconnect_user(self, call: Call) -> Closed:
        user_id = call.path["userId"]
        done = await self._moderation.disconnect_all("user", user_id)
        log.warning("api_disconnected", name=user_id, connections=done.connections, address=call.address)
        self._check_link(_DONE_HERE)
        return Closed(*done)

    async def blocks(self, _: Call) -> BlocksInForce:
        blocks = sorted(self._collaboration.blocks.in_force, key=lambda block: block.until)
        return BlocksInForce([BlockInForce(block.kind, block.name, block.until) for block in blocks])

    async def block(self, call: Call) -> Closed:
        kind, name = _blocked(call.path)
        try:
            done = await self._moderation.block(kind, name, call.body.seconds)
        except TooManyBlocks:
            raise Problem(409, f"there are {MAX_BLOCKS} blocks already: lift some of them") from None
        log.warning("api_blocked", kind=kind, name=name, seconds=call.body.seconds, address=call.address)
        self._check_link(_DONE_HERE)
        return Closed(*done)

    async def unblock(self, call: Call) -> Closed:
        kind, name = _blocked(call.path)
        self._check_link(_NOT_DONE)
        done = await self._moderation.unblock(kind, name)
        if done is None:
            raise Problem(404, f"this {kind} is not blocked")
        log.warning("api_unblocked", kind=kind, name=name, address=call.address)
        return Closed(*done)

    # State

    async def state(self, _: Call) -> ClusterState:
        answers, unanswered = await self._instance.instances.ask(_STATE, Nothing())
        return ClusterState([answers[instance] for instance in sorted(answers)], unanswered)

    async def _state_here(self, _: Nothing) -> InstanceState:
        status, stats = self._instance.status, self._instance.stats()
        return InstanceState(
            id=self._instance.id,
            version=__version__,
            started_at=self._instance.started_at,
            status=status.word,  # type: ignore[arg-type]  # one of the three
            reason=status.reason,
            connections=stats.signed_in,
            users=stats.users,
            projects=stats.projects,
        )


async def _position(events: EventLog) -> Position:
    """Return the position of the last event of all instances. Raises `Problem`."""
    found: asyncio.Future[Position | None] = asyncio.get_running_loop().create_future()
    events.locate(lambda position: None if found.done() else found.set_result(position))
    position = await found
    if position is None:
        raise _no_events()
    return position


def _no_events() -> Problem:
    return Problem(503, "the events are in Redis, which cannot be reached", _SOON)


def _name(project_id: str, key: str, number: int) -> str:
    """Return a short name of one event of a request."""
    return blake2b(f"{project_id}\0{key}\0{number}".encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _last(found: list[LoggedEvent], now: Position, since: Position) -> int:
    """Return the number to read on from: nothing up to it is missing in the answer."""
    return max([now.number, since.number, *(event.number for event in found)])


def _kept(event: LoggedEvent, epoch: str) -> KeptEvent:
    try:
        first, *arguments = _LOGGED.decode(event.data)
        name = _NAME.decode(bytes(first))
    except InvalidPayload:  # nested to the limit of the decoder, which depends on the callers
        return KeptEvent("", None, str(Position(epoch, event.number)))
    whole = _WHOLE.get(name)
    shown: object = arguments if len(arguments) != 1 else arguments[0] if whole is None else {whole: arguments[0]}
    attachments = [base64.b64encode(attachment).decode() for attachment in event.attachments]
    return KeptEvent(name, shown, str(Position(epoch, event.number)), attachments)


def _blocked(path: dict[str, str]) -> tuple[BlockedKind, str]:
    """Return the user or the address in a path. Raises `Problem`."""
    if "userId" in path:
        return "user", path["userId"]
    site = blocked_address(path["address"])
    if site is None:
        raise Problem(422, "address: an IP address is expected, or the /64 of an IPv6 address")
    return "address", site


def _blocks_of(path: str, whom: str) -> tuple[Endpoint, Endpoint]:
    return (
        Endpoint("PUT", path, f"Block {whom} for a time", Endpoints.block, Closed, body=NewBlock, problems=(409, 503)),
        Endpoint("DELETE", path, f"Lift the block of {whom}", Endpoints.unblock, Closed, problems=(404, 503)),
    )


_PROJECT: Final = "/projects/{projectId}"

#: All endpoints.
TABLE: Final = (
    Endpoint(
        "POST",
        f"{_PROJECT}/events",
        "Publish events to the members of a project",
        Endpoints.publish,
        Published,
        body=EventToPublish | list[EventToPublish],
        problems=(503,),
        description="One event, or a list in order: all of them or none. They are ordered, kept and replayed "
        "like the events of members. A request with the same `Idempotency-Key` as an earlier one "
        "publishes nothing again, and gets the same positions; the last 100,000 events with a key are remembered.",
    ),
    Endpoint(
        "GET",
        f"{_PROJECT}/events",
        "Read the events that are kept",
        Endpoints.read,
        KeptEvents,
        query=ReadParameters,
        problems=(410, 503),
    ),
    Endpoint(
        "GET",
        f"{_PROJECT}/presence",
        "List the users in a project",
        Endpoints.presence,
        PresentUsers,
        problems=(503,),
    ),
    Endpoint(
        "DELETE",
        f"{_PROJECT}/members/{{userId}}",
        "Remove a user from a project at once",
        Endpoints.remove,
        Closed,
        problems=(503,),
        description="For a user whose access was revoked: the access policy is asked before the user may join "
        "again. With PROJECT_ACCESS=open every user may.",
    ),
    Endpoint(
        "POST",
        f"{_PROJECT}/notices",
        "Send a notice to the members of a project",
        Endpoints.post_notice,
        Closed,
        body=Notice,
        problems=(503,),
    ),
    Endpoint("DELETE", "/sockets/{socketId}", "Disconnect a client", Endpoints.disconnect, Closed, problems=(503,)),
    Endpoint(
        "DELETE",
        "/users/{userId}/connections",
        "Disconnect all clients of a user",
        Endpoints.disconnect_user,
        Closed,
        problems=(503,),
        description="The clients may return: block the user to prevent that.",
    ),
    Endpoint("GET", "/blocks", "List the blocks of users and addresses", Endpoints.blocks, BlocksInForce),
    *_blocks_of("/blocks/users/{userId}", "a user"),
    *_blocks_of("/blocks/addresses/{address}", "an address"),
    Endpoint("GET", "/cluster", "Read the state of all instances", Endpoints.state, ClusterState),
)
