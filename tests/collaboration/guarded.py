"""Synkora with a policy that the test controls, and a clock that the test can move."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.collaboration.site import MemoryClient, Site, turn
from tests.support.servers import until

from synkora.collaboration.access import AccessUnavailable, Role, SessionRefused
from synkora.collaboration.limits import Limits
from synkora.identity.sign_in import SignedIn
from synkora.identity.user import User

#: Limits that no test reaches unless it means to.
UNLIMITED = Limits(volatile_rate=0, edit_rate=0, other_rate=0, byte_rate=0, user_byte_rate=0, projects=0, connections=0)

EDIT = ("task:create", {"projectId": "p", "task": 1})
#: What a policy may raise in place of an answer.
FAILURES = [AccessUnavailable("the app is down"), RuntimeError("secret"), OSError(), asyncio.CancelledError()]


def task(number: int) -> dict[str, Any]:
    return {"projectId": "p", "task": number}


def signed_in(name: str = "ann") -> SignedIn:
    return SignedIn(User(name), f"token-of-{name}")


class MovedClock(asyncio.SelectorEventLoop):
    """An event loop whose clock can be advanced."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Roles:
    """A policy that knows the given roles by user and project, and counts its questions.

    It answers when `gate`, or the user's own one in `gates`, is set, with `error` if there is one.
    """

    def __init__(self, **users: Role | None) -> None:
        self.roles: dict[tuple[str, str], Role | None] = {(user, "p"): role for user, role in users.items()}
        self.asked: Counter[tuple[str, str]] = Counter()
        self.error: BaseException | None = None
        self.ended: set[str] = set()  # tokens of sessions that the app has ended
        self.too_long: set[str] = set()  # tokens that the app cannot read
        self.gate = asyncio.Event()
        self.gate.set()
        self.gates: dict[str, asyncio.Event] = {}
        self.closed = False

    async def role(self, signed_in: SignedIn, project_id: str) -> Role | None:
        key = (signed_in.user.id, project_id)
        self.asked[key] += 1
        await self.gates.get(signed_in.user.id, self.gate).wait()
        if self.error is not None:
            raise self.error
        if signed_in.token in self.ended:
            raise SessionRefused(signed_in.token)
        if signed_in.token in self.too_long:
            raise SessionRefused(signed_in.token, "too long")
        return self.roles.get(key)

    async def close(self) -> None:
        self.closed = True


class Guarded(Site):
    """A Socket.IO server with Synkora that asks a policy."""

    def __init__(self, roles: Roles, *, limits: Limits = UNLIMITED, **options: Any) -> None:
        super().__init__(policy=roles, limits=limits, **options)
        self.roles = roles

    async def close(self) -> None:
        """Stop the site's background work, such as rechecks."""
        await self.collaboration.close()

    async def answer(self) -> None:
        """Let the policy answer from now on, and the server finish what waited for it."""
        self.roles.gate.set()
        await settle()

    async def join(self, name: str, project: str = "p") -> MemoryClient:
        """Connect a member who joins a project, and clear its events."""
        client = self.come(name)
        client.emit("join-project", project)
        await heard(client, lambda events: any(event[0] == "users:count" for event in events))
        return client

    async def join_both(self) -> tuple[MemoryClient, MemoryClient]:
        """Ann and Bob have joined. Their received events are cleared."""
        ann, bob = await self.join("Ann"), await self.join("Bob")
        await settle()
        ann.take()
        bob.take()
        return ann, bob


MakeGuarded = Callable[..., Guarded]


def names(client: MemoryClient) -> list[str]:
    """The names of the events since the last call."""
    return [event[0] for event in client.take_events()]


def errors(client: MemoryClient) -> list[dict[str, Any]]:
    """The payloads of the `error` events since the last call."""
    return [event[1] for event in client.take_events() if event[0] == "error"]


def acks(client: MemoryClient) -> list[Any]:
    return [json.loads(packet[3:]) for packet in client.transport.packets if packet.startswith(b"43")]


async def heard(client: MemoryClient, condition: Callable[[list[list[Any]]], object]) -> list[list[Any]]:
    """The events of a client until `condition` holds for them."""
    events: list[list[Any]] = []

    def look() -> object:
        events.extend(client.take_events())
        return condition(events)

    await until(look)
    return events


async def first_error(client: MemoryClient) -> dict[str, Any]:
    """The payload of the next `error` event."""
    events = await heard(client, lambda events: any(event[0] == "error" for event in events))
    error: dict[str, Any] = next(event[1] for event in events if event[0] == "error")
    return error


def limited(**limits: Any) -> Guarded:
    """A site with only these limits, where Ann and Bob may write."""
    return Guarded(Roles(ann=Role.OWNER, bob=Role.OWNER), limits=replace(UNLIMITED, **limits))


async def settle() -> None:
    """Let all ready callbacks run: a question, its answer, and the resulting events."""
    for _ in range(4):
        await turn()


async def ask(client: MemoryClient, *event: object) -> None:
    """Emit an event, and let the policy be asked and answer."""
    client.emit(*event)
    await settle()


async def sent_while_waiting(site: Guarded, packet: str) -> tuple[MemoryClient, MemoryClient]:
    """Ann and Eve have sent a packet before the answer of the policy, and got no ack yet."""
    ann, eve = site.come("Ann"), site.come("Eve")
    ann.send(packet)
    eve.send(packet)
    await settle()
    assert acks(ann) == []
    await site.answer()
    return ann, eve


def waiting(*users: str, role: Role | None = Role.EDITOR, **options: Any) -> Guarded:
    """A site whose policy does not answer until its gate is opened."""
    roles = Roles(**dict.fromkeys(users, role))
    roles.gate.clear()
    return Guarded(roles, **options)


async def waiting_with_bob() -> tuple[Guarded, MemoryClient]:
    site = waiting("ann", "bob")
    site.roles.gate.set()
    bob = await site.join("Bob")
    site.roles.gate.clear()
    return site, bob


async def ann_waits_for_bob() -> tuple[Guarded, MemoryClient, MemoryClient]:
    """The same, with Ann's pending join."""
    site, bob = await waiting_with_bob()
    ann = site.come("Ann")
    ann.emit("join-project", "p")
    return site, bob, ann
