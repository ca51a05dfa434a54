"""Several instances behind nginx, and their clients."""

import asyncio
import itertools
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final

from tests.end_to_end.behind_nginx import client_of, knows
from tests.end_to_end.member import Member
from tests.support.nginx import Nginx, running_nginx
from tests.support.node_process import NodeProcess
from tests.support.real_clients import Way
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess, expect_health
from tests.support.users import User

#: Seconds within which all is calm again: a dead instance is noticed within 10, and clients wait up to 5 to come back.
_CALM: Final = 20
_MOST_CLIENTS: Final = 150
_PREFIX: Final = "socket.io"  # of the keys in Redis, by default


class Site:
    def __init__(self, folder: Path, redis: RedisServer, node: NodeProcess) -> None:
        self.instances: list[ServerProcess] = []
        self.members: list[Member] = []
        self._folder = folder
        self._redis = redis
        self._node = node
        self._around = ExitStack()

    def add(self, **variables: str) -> ServerProcess:
        """Start one more instance. `variables` are its own settings."""
        given = {
            "REDIS_URL": self._redis.url,
            "TRUSTED_PROXIES": "127.0.0.1",
            "PRESENCE_GRACE": "5",
            **variables,
        }
        self.instances.append(ServerProcess(self._folder, **given))
        return self.instances[-1]

    @property
    def ports(self) -> list[int]:
        return [instance.port for instance in self.instances]

    def balance(self, instances: int) -> Nginx:
        return self.front(running_nginx(self.ports[:instances]))

    def front(self, nginx: AbstractContextManager[Nginx]) -> Nginx:
        self.nginx = self._around.enter_context(nginx)
        return self.nginx

    async def enter(self, *ways: Way) -> None:
        """Connect new clients through nginx, each with its transports, and let them join. Waits until all know all."""
        await self.connect(*ways)
        await self.expect_whole()

    async def enter_until(self, condition: Callable[[], bool], *ways: Way) -> None:
        """Like `enter`, one client after the other with these transports in turn, until `condition()` holds.

        Polls of other clients take turns among the instances, too: with one poll for each new client, half of ten
        instances would get no client. Some more requests, after a client without a new instance, change who is next.
        """
        places: set[tuple[Way, int]] = set()
        for way in itertools.islice(itertools.cycle(ways), _MOST_CLIENTS):
            if condition():
                break
            (member,) = await self.connect(way)
            place = way, await self._port_of(member)
            if place in places:
                async with client_of(self.nginx.url) as http:
                    for _ in range(random.randrange(len(self.instances))):
                        assert not await knows(http, "of no session")
            places.add(place)
        assert condition(), places
        await self.expect_whole()

    async def _port_of(self, member: Member) -> int:
        """Wait until the log of an instance names a member: a thread reads the log."""

        def found() -> list[int]:
            return [instance.port for instance in self.instances if member in self.of(instance)]

        await calm(lambda: bool(found()), lambda: member.ids)
        return found()[0]

    async def connect(self, *ways: Way) -> list[Member]:
        """Connect new clients through nginx, each with its own transports, and let them join."""
        return [await self._connect(way) for way in ways]

    async def connect_to(self, instance: ServerProcess, way: Way) -> Member:
        """Connect a client to an instance, without nginx, and let it join."""
        member = await self._connect(way, instance.url)
        await self.expect_whole()
        return member

    async def _connect(self, way: Way, url: str = "") -> Member:
        number = len(self.members)
        member = Member(User(f"user-{number}", f"User {number}"), way, self._node)
        self.members.append(member)
        await member.connect(url or self.nginx.url, {"token": member.user.token})
        if way.upgrades:
            await member.upgraded()
        return member

    async def close(self) -> None:
        running = [instance for instance in self.instances if instance.process.poll() is None]
        try:
            for member in self.members:
                await member.close()
            for instance in running:
                await expect_health(instance, connections=0)
        finally:
            self._around.close()
            codes = [await asyncio.to_thread(instance.stop) for instance in running]
        assert codes == [0] * len(running)
        assert [instance.stderr for instance in running] == [[] for _ in running]

    def of(self, instance: ServerProcess) -> list[Member]:
        return [member for member in self.members if f"connected: {member.id} " in instance.output]

    def members_of_others(self, instance: ServerProcess) -> list[Member]:
        return [member for member in self.members if member not in self.of(instance)]

    @property
    def is_whole(self) -> bool:
        everyone = {member.user.id for member in self.members}
        return all(member.sees == everyone and member.counted == len(everyone) for member in self.members)

    async def expect_whole(self) -> None:
        await calm(
            lambda: self.is_whole, lambda: [(member.user.id, member.counted, member.sees) for member in self.members]
        )

    async def expect_recovered(self, members: list[Member], instances: int) -> None:
        """Wait until members have their sockets again and Redis has this many instances. No leave is announced."""
        await self.expect_back(members)
        assert [len({*member.ids}) for member in members] == [1] * len(members)
        registered = f"synkora:{_PREFIX}:instances"
        await calm(lambda: self._redis.do("ZCARD", registered) == instances, lambda: self._redis.do("KEYS", "*"))
        assert [member.got("user:left") for member in self.members] == [[]] * len(self.members)

    async def expect_back(self, members: list[Member]) -> None:
        """Wait until they have connected for the second time."""
        await calm(lambda: all(len(member.ids) == 2 for member in members), lambda: [each.ids for each in members])
        await self.expect_whole()


async def calm(condition: Callable[[], bool], shown: Callable[[], object]) -> None:
    """Wait until `condition()` holds. Fails with `shown`."""
    try:
        async with asyncio.timeout(_CALM):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(shown()) from None
