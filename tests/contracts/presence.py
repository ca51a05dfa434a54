"""The contract of every implementation of presence."""

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from synkora.collaboration.presence import Presence, PresenceEntry
from synkora.identity.user import User
from synkora.protocol.json import encode

ALICE = User(id="u-alice", name="Alice", image="https://example.com/a.png")
BOB = User(id="u-bob", name="Bob")
USERS = (ALICE, BOB, User(id="u-carol", name='Carol "C" Ñandú'))
PROJECTS = ("p1", "p2")
SOCKETS = tuple(f"s{number}" for number in range(6))


def listed(presence: Presence, project_id: str) -> list[dict[str, Any]]:
    """The users of a project, as the app gets them. The count of the list is checked."""
    roster = json.loads(encode(presence.roster(project_id)))
    assert roster.keys() == {"users", "count"}
    users: list[dict[str, Any]] = roster["users"]
    assert roster["count"] == len(users) == presence.count(project_id)
    return users


def moment(second: int) -> str:
    return f"2026-01-02T03:{second // 60:02}:{second % 60:02}.000Z"


def entry(socket_id: str, user: User, joined_at: str) -> PresenceEntry:
    return PresenceEntry(socket_id, user.id, user.name, joined_at, user.image)


class Diary:
    """The reported changes of own and of other connections, in order."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, PresenceEntry]] = []

    def joined(self, project_id: str, entry: PresenceEntry) -> None:
        self.entries.append(("joined", project_id, entry))

    def left(self, project_id: str, entry: PresenceEntry) -> None:
        self.entries.append(("left", project_id, entry))

    def completed(self, project_id: str) -> None:
        pass

    def take(self) -> list[tuple[str, str, PresenceEntry]]:
        """The changes since the last call."""
        taken, self.entries = self.entries, []
        return taken


class PresenceContract:
    """Base class for tests with a fixture `presence`, an empty implementation."""

    async def test_a_project_without_joins_is_empty(self, presence: Presence) -> None:
        """It has an empty list and the count 0. Reading it does not create it."""
        assert listed(presence, "p1") == []
        assert presence.project_count == 0

    async def test_an_entry_has_the_apps_fields(self, presence: Presence) -> None:
        """Id, name, time and picture of a user. Without a picture there is no `userImage`."""
        presence.add_connection("p1", entry("s1", ALICE, moment(1)))
        presence.add_connection("p1", entry("s2", BOB, moment(2)))
        assert listed(presence, "p1") == [
            {"userId": "u-alice", "userName": "Alice", "joinedAt": moment(1), "userImage": ALICE.image},
            {"userId": "u-bob", "userName": "Bob", "joinedAt": moment(2)},
        ]

    async def test_users_are_listed_in_order_of_arrival(self, presence: Presence) -> None:
        """A member that leaves and rejoins is the last."""
        for second, user in enumerate((*USERS, *USERS)):
            presence.remove_connection("p1", user.id)
            presence.add_connection("p1", entry(user.id, user, moment(second)))
            assert listed(presence, "p1")[-1]["userId"] == user.id

    async def test_two_connections_are_one_user(self, presence: Presence) -> None:
        """A user is listed once, since the earliest join of the remaining connections."""
        presence.add_connection("p1", entry("s1", ALICE, moment(1)))
        presence.add_connection("p1", entry("s2", ALICE, moment(2)))
        assert [user["joinedAt"] for user in listed(presence, "p1")] == [moment(1)]
        presence.remove_connection("p1", "s1")
        assert [user["joinedAt"] for user in listed(presence, "p1")] == [moment(2)]
        presence.remove_connection("p1", "s2")
        assert listed(presence, "p1") == []

    async def test_a_connection_that_joins_again_changes_nothing(self, presence: Presence) -> None:
        """The first join counts, and one leave removes the connection."""
        presence.add_connection("p1", entry("s1", ALICE, moment(1)))
        presence.add_connection("p1", entry("s1", ALICE, moment(2)))
        assert [user["joinedAt"] for user in listed(presence, "p1")] == [moment(1)]
        presence.remove_connection("p1", "s1")
        assert presence.project_count == 0

    async def test_leaving_without_a_join_changes_nothing(self, presence: Presence) -> None:
        presence.add_connection("p1", entry("s1", ALICE, moment(1)))
        presence.remove_connection("p1", "s2")
        presence.remove_connection("p2", "s1")
        assert len(listed(presence, "p1")) == 1
        assert listed(presence, "p2") == []
        assert presence.project_count == 1

    async def test_projects_know_nothing_of_each_other(self, presence: Presence) -> None:
        """A user may be in several, each until its own leave."""
        presence.add_connection("p1", entry("s1", ALICE, moment(1)))
        presence.add_connection("p2", entry("s1", ALICE, moment(2)))
        assert presence.project_count == 2
        presence.remove_connection("p1", "s1")
        assert listed(presence, "p1") == []
        assert [user["joinedAt"] for user in listed(presence, "p2")] == [moment(2)]

    async def test_a_roster_that_was_given_out_stays_as_it_is(self, presence: Presence) -> None:
        presence.add_connection("p1", entry("s1", ALICE, moment(1)))
        roster = presence.roster("p1")
        presence.add_connection("p1", entry("s2", BOB, moment(2)))
        presence.remove_connection("p1", "s1")
        assert [user["userId"] for user in json.loads(encode(roster))["users"]] == ["u-alice"]

    async def test_each_change_is_reported_immediately_and_once(self, presence: Presence) -> None:
        """Changes of own connections are reported completely within the call."""
        diary = Diary()
        presence.listen(diary)
        first, second = entry("s1", ALICE, moment(1)), entry("s2", ALICE, moment(2))
        presence.add_connection("p1", first)
        assert diary.take() == [("joined", "p1", first)]
        presence.add_connection("p1", second)
        presence.add_connection("p1", entry("s2", ALICE, moment(3)))
        assert diary.take() == [("joined", "p1", second)]
        presence.remove_connection("p1", "s1")
        assert diary.take() == [("left", "p1", first)]
        presence.remove_connection("p1", "s1")
        presence.remove_connection("p2", "s2")
        assert diary.take() == []

    async def test_a_project_without_joins_is_not_occupied(self, presence: Presence) -> None:
        assert presence.occupancy("p1")[:2] == (0, 0)
        assert presence.local_projects == []

    async def test_a_project_that_one_server_knows_is_counted_there(self, presence: Presence) -> None:
        """No other instance could count it."""
        presence.add_connection("p1", entry("s1", ALICE, moment(1)))
        assert presence.occupancy("p1").is_reporter

    async def test_a_project_without_joins_is_complete(self, presence: Presence) -> None:
        assert presence.is_complete("p1")


class PresenceMachine(RuleBasedStateMachine):
    """Joins and leaves of a few users, compared with a plain list of (project, socket, user, time).

    To be inherited with a `make`. Its `TestCase` compares both after any actions.
    """

    def make(self) -> Presence:
        raise NotImplementedError

    @initialize()
    def start(self) -> None:
        self.presence = self.make()
        self.joins: list[tuple[str, str, User, str]] = []
        self.clock = 0

    @rule(project=st.sampled_from(PROJECTS), socket=st.sampled_from(SOCKETS))
    def join(self, project: str, socket: str) -> None:
        user = _user_of(socket)
        self.clock += 1
        self.presence.add_connection(project, entry(socket, user, moment(self.clock)))
        if not any(join[:2] == (project, socket) for join in self.joins):
            self.joins.append((project, socket, user, moment(self.clock)))

    @rule(project=st.sampled_from(PROJECTS), socket=st.sampled_from(SOCKETS))
    def leave(self, project: str, socket: str) -> None:
        self.presence.remove_connection(project, socket)
        self.joins = [join for join in self.joins if join[:2] != (project, socket)]

    @rule(socket=st.sampled_from(SOCKETS))
    def disconnect(self, socket: str) -> None:
        for project in PROJECTS:
            self.leave(project, socket)

    @invariant()
    def agrees(self) -> None:
        for project in PROJECTS:
            earliest: dict[str, str] = {}
            for _, _, user, joined_at in (join for join in self.joins if join[0] == project):
                earliest.setdefault(user.id, joined_at)
            users = listed(self.presence, project)
            assert {user["userId"]: user["joinedAt"] for user in users} == earliest
            assert len(users) == len(earliest)
            connections = sum(1 for join in self.joins if join[0] == project)
            assert self.presence.occupancy(project)[:2] == (len(users), connections)
        assert self.presence.project_count == len({project for project, *_ in self.joins})
        assert sorted(self.presence.local_projects) == sorted({project for project, *_ in self.joins})


def _user_of(socket: str) -> User:
    return USERS[SOCKETS.index(socket) % len(USERS)]
