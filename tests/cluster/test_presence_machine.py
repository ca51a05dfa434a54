"""Presence over three instances and a real Redis, in any order of sending, delivery and failure."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.cluster.instances import Instance, lifetimes
from tests.support.manual_link import ManualLink
from tests.support.redis_server import RedisServer

PROJECTS = ("p", "q")
INSTANCES = (0, 1, 2)
LONG_AGO = 1  # ms since 1970
_TURNS = 6

instances = st.sampled_from(INSTANCES)
projects = st.sampled_from(PROJECTS)
numbers = st.integers(0, 2)


class PresenceMachine(RuleBasedStateMachine):
    """Each join and each leave is announced once, and when nothing changes, each client knows the correct members.

    With `webhooks` the app's backend knows the correct users, and is told each transition once.
    """

    redis: RedisServer
    webhooks: bool

    @initialize()
    def start(self) -> None:
        self.redis.do("FLUSHALL")
        self.runner = asyncio.Runner()
        self.backend = Backend(self.redis)
        self.dead: list[str] = []
        self.moves = 0
        self.left_behind: list[tuple[Instance, str, str]] = []  # connections that their instances still hold
        self.cluster: list[Instance] = []
        for _ in INSTANCES:
            self.do(lambda: self.cluster.append(self._new()))

    def _new(self) -> Instance:
        instance = Instance(ManualLink(self.redis), webhooks=self.webhooks)
        self.link(instance).connect()
        return instance

    @staticmethod
    def link(instance: Instance) -> ManualLink:
        assert isinstance(instance.link, ManualLink)
        return instance.link

    def do(self, act: Callable[[], object]) -> None:
        """Run something in the event loop, and some further turns."""

        async def turn() -> None:
            act()
            for _ in range(_TURNS):
                await asyncio.sleep(0)

        self.runner.run(turn())

    def name(self, number: int, socket: int) -> str:
        """A socket of an instance. Each instance has two users, one of them shared by all."""
        return f"{'abcx'[number] if socket else 'x'}{socket}-{self.moves}-{self.cluster[number].link.uid}"

    @rule(number=instances, project=projects, socket=numbers)
    def join(self, number: int, project: str, socket: int) -> None:
        self.do(lambda: self.cluster[number].join(project, self.name(number, socket)))

    @rule(number=instances, project=projects, socket=numbers)
    def leave(self, number: int, project: str, socket: int) -> None:
        self.do(lambda: self.cluster[number].leave(project, self.name(number, socket)))

    @rule(number=instances, project=projects, socket=numbers)
    def leave_and_come_back(self, number: int, project: str, socket: int) -> None:
        instance, name = self.cluster[number], self.name(number, socket)

        def act() -> None:
            instance.leave(project, name)
            instance.join(project, name)

        self.do(act)

    @rule(number=instances, project=projects, pick=st.integers(0, 5))
    def leave_as_any(self, number: int, project: str, pick: int) -> None:
        """Also a client that came from another instance."""
        inside = sorted(self.cluster[number].inside.get(project, ()))
        if inside:
            self.do(lambda: self.cluster[number].leave(project, inside[pick % len(inside)]))

    @rule(number=instances, other=instances, project=projects, pick=st.integers(0, 5))
    def lose_and_return(self, number: int, other: int, project: str, pick: int) -> None:
        """A client loses its connection, and returns to any instance with the same socket id."""
        source, target = self.cluster[number], self.cluster[other]
        inside = sorted(source.inside.get(project, ()))
        if not inside:
            return
        socket = inside[pick % len(inside)]

        def act() -> None:
            source.lose(project, socket)
            if source is target:
                source.join(project, socket)
                return
            del source.inside[project][socket]
            self.left_behind.append((source, project, socket))
            target.join(project, socket)

        self.left_behind = [each for each in self.left_behind if each != (target, project, socket)]
        self.moves += 1  # from now on the source's own clients have other ids
        self.do(act)

    @rule()
    def give_up(self) -> None:
        """The leave delay of a lost client is over."""
        if self.left_behind:
            instance, project, socket = self.left_behind.pop(0)
            self.do(lambda: instance.presence.remove_connection(project, socket))

    @rule(number=instances, most=st.integers(1, 4))
    def send(self, number: int, most: int) -> None:
        self.do(lambda: self.link(self.cluster[number]).send(most))

    @rule(number=instances, most=st.integers(1, 4))
    def deliver(self, number: int, most: int) -> None:
        self.do(lambda: self.link(self.cluster[number]).deliver(most))

    @rule(number=instances)
    def catch_up(self, number: int) -> None:
        link = self.link(self.cluster[number])
        for _ in range(3):
            self.do(link.send)
            self.do(link.deliver)

    @rule(number=instances)
    def beat(self, number: int) -> None:
        self.do(self.cluster[number].hurry)

    @rule(number=instances)
    def fall_silent(self, number: int) -> None:
        """The others have not heard of it for long, but it is alive."""
        self._age(self.cluster[number].link.uid)

    def _age(self, uid: str) -> None:
        if self.redis.do("ZSCORE", "synkora:instances", uid) is not None:
            self.redis.do("ZADD", "synkora:instances", LONG_AGO, uid)

    @rule(number=instances)
    def cut(self, number: int) -> None:
        self.do(self.link(self.cluster[number]).cut)

    @rule(number=instances)
    def connect(self, number: int) -> None:
        link = self.link(self.cluster[number])
        if not link.is_up:
            self.do(link.connect)

    @rule(number=instances)
    def stay_away(self, number: int) -> None:
        instance = self.cluster[number]
        if not instance.link.is_up:
            self.do(instance.presence._forget_others)

    @rule(number=instances)
    def lose_messages(self, number: int) -> None:
        self.link(self.cluster[number]).lose()

    @rule(number=instances)
    def die(self, number: int) -> None:
        self._end(self.cluster[number])
        self.do(lambda: self.cluster.__setitem__(number, self._new()))

    def _end(self, instance: Instance) -> None:
        self.dead.append(instance.link.uid)
        self.left_behind = [each for each in self.left_behind if each[0] is not instance]
        self.do(instance.kill)
        self.do(self.link(instance).cut)

    @rule()
    def lose_memory(self) -> None:
        self.backend.hear()
        self.backend.users.clear()
        self.redis.do("FLUSHALL")

    @rule(number=instances, project=projects)
    def settle(self, number: int, project: str) -> None:
        presence = self.cluster[number].presence
        if project in presence._projects:
            self.do(lambda: presence._settle(project))

    @rule()
    def calm(self) -> None:
        """In the end, all clients and Redis have the correct members."""
        for number in INSTANCES:
            self.connect(number)
        while self.left_behind:
            self.give_up()
        for uid in self.dead:
            self._age(uid)
        for _ in range(3):
            for instance in self.cluster:
                self.do(instance.hurry)
            self._exchange()
        for number in INSTANCES:
            for project in PROJECTS:
                self.settle(number, project)
        self._check()

    def _exchange(self) -> None:
        for _ in range(50):
            for instance in self.cluster:
                self.do(self.link(instance).send)
                self.do(self.link(instance).deliver)
            if all(self.link(instance).is_idle for instance in self.cluster):
                return
        raise AssertionError("there is no end to what they tell each other")

    def _check(self) -> None:
        self.backend.hear()
        for project in PROJECTS:
            truth = {
                socket: each for instance in self.cluster for socket, each in instance.inside.get(project, {}).items()
            }
            stored = set(self.redis.do("HKEYS", f"synkora:project:{project}"))
            assert stored == {socket.encode() for socket in truth} | ({b""} if truth else set())
            if self.webhooks:
                assert self.backend.users.get(project, set()) == {each.userId for each in truth.values()}
            for instance in self.cluster:
                if instance.inside.get(project):
                    assert instance.presence.is_complete(project)
                    assert instance.witness.known[project].keys() == truth.keys()
                    assert instance.presence.count(project) == len({each.userId for each in truth.values()})
                else:
                    assert project not in instance.presence._projects
        entered = [instance for instance in self.cluster if any(instance.inside.values())]
        left = lifetimes(self.redis)
        assert len([key for key in left if key.startswith("synkora:instance:")]) == len(entered)
        assert all(seconds > 0 for seconds in left.values())

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        try:
            self.calm()
            for instance in self.cluster:
                self._end(instance)
        finally:
            self.runner.close()


class Backend:
    """What an app knows that gets the events. Each must be news to it."""

    def __init__(self, redis: RedisServer) -> None:
        self.users: dict[str, set[str]] = {}
        self._redis = redis

    def hear(self) -> None:
        """Take what waits."""
        for name, fields in self._redis.do("XRANGE", "synkora:webhooks", "-", "+"):
            self._redis.do("XDEL", "synkora:webhooks", name)
            event = json.loads(fields[1])
            project, user = event["data"]["projectId"], event["data"].get("userId")
            match event["type"]:
                case "project.occupied":
                    assert project not in self.users
                    self.users[project] = set()
                case "user.entered":
                    assert user not in self.users[project]
                    self.users[project].add(user)
                case "user.left":
                    self.users[project].remove(user)
                case "project.vacant":
                    assert self.users.pop(project) == set()


@pytest.mark.parametrize("webhooks", [False, True])
def test_everyone_hears_of_everyone_once_and_knows_the_truth(redis: RedisServer, webhooks: bool) -> None:
    """Any sequence of sends, deliveries, losses, disconnects, expired leases and lost data."""
    machine = type("Machine", (PresenceMachine,), {"redis": redis, "webhooks": webhooks})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            phases=(Phase.explicit, Phase.generate),  # with a real Redis, shrinking takes minutes
            stateful_step_count=40,
            deadline=timedelta(seconds=20),
            suppress_health_check=list(HealthCheck),
        ),
    )
