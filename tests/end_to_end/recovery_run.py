"""A run of one or several servers with clients that work while connections and servers break repeatedly."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.end_to_end.worker_members import Workers
from tests.recovery.checker import Client, Edit, violations
from tests.support.nginx import running_nginx
from tests.support.node_process import Message, NodeProcess
from tests.support.processes import PATIENCE, free_port
from tests.support.real_clients import APP_OPTIONS
from tests.support.redis_server import RedisServer
from tests.support.redis_sets import RedisCluster, Sentinels
from tests.support.relay import Relay, relaying
from tests.support.server_process import ServerProcess, expect_health
from tests.support.users import User

RedisSet = Sentinels | RedisCluster
PROJECTS: Final = ("project-a", "project-b")
#: A connection that only seems alive lasts for up to three seconds.
_SETTINGS: Final = {
    "LIMIT_EDIT_RATE": "1000",
    "LIMIT_FAILED_SIGN_INS": "0",
    "RECOVERY": "true",
    "PRESENCE_GRACE": "30",  # longer than any disconnect of a page
    "SHUTDOWN_TIMEOUT": "1",
    "WS_PING_INTERVAL": "1",
    "WS_PING_TIMEOUT": "2",
}
_OPTIONS: Final = {**APP_OPTIONS, "reconnectionDelay": 50, "reconnectionDelayMax": 500, "timeout": 2000}
_TRANSPORTS: Final = (["websocket"], ["polling"], ["polling", "websocket"])
_RETURNED: Final = 10  # seconds within which everyone is back, on a busy machine
_KEYS: Final = 5  # tasks that are edited repeatedly
#: What may go wrong if not all, as in `RECOVERY_KINDS="a drain, kill -9"`.
_KINDS: Final = [kind.strip() for kind in os.environ.get("RECOVERY_KINDS", "").split(",") if kind.strip()]
_RECENT: Final = 20  # edits
_DRAIN: Final = 1  # seconds
_PAUSE: Final = (0.5, 2)  # seconds without Redis that a link outlives
_LONG_PAUSE: Final = 8  # seconds: a link takes Redis for lost after six


def _origin(edit_id: str) -> tuple[int, int]:
    """The number of an edit's page, and the edit's number among those of the page."""
    page, _, number = edit_id.rpartition("/")[2].partition("-")
    return int(page), int(number)


class Page:
    """A page that joins its projects once, on mount. `client` is the checker's record."""

    def __init__(self, number: int, relay: Relay, node: NodeProcess) -> None:
        user = User(f"user-{number // 2}", f"User {number // 2}")  # two tabs each
        projects = PROJECTS if number % 3 == 0 else PROJECTS[number % 2 :][:1]
        self.client = Client(f"page {number}", projects)
        self.relay = relay
        self.is_connected = False
        self.connects = 0
        self.lists = 0  # of users, that it has got: one for each join
        self.farewells = 0  # number of `user:left` events
        self.number = number
        self._token = user.token
        self._node = node
        self._name = node.listen(self._heard)
        self._asking: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        transports = _TRANSPORTS[self.number % len(_TRANSPORTS)]
        options = {**_OPTIONS, "auth": {"token": self._token}, "transports": transports}
        self._node.order("open", name=self._name, url=f"http://127.0.0.1:{self.relay.port}", options=options)

    def close(self) -> None:
        for task in self._asking:
            task.cancel()
        self._node.order("close", name=self._name)

    def edit(self, chance: random.Random, *, is_ordered: bool) -> None:
        """Edit something: a task, or the canvas, whose edits all count."""
        number = len(self.client.sent)
        project = chance.choice(self.client.projects)
        edit_id = f"{project}/{self.number}-{number}"
        if chance.random() < 0.5:
            task = f"task-{chance.randrange(_KEYS)}"
            event = ["task:update", {"projectId": project, "task": {"id": task, "edit": edit_id}}]
            edit = Edit(edit_id, project, task, is_ordered=is_ordered)
        else:
            event = ["canvas:update", {"projectId": project, "changes": [{"edit": edit_id}]}]
            edit = Edit(edit_id, project, is_ordered=is_ordered)
        self.client.sent.append(edit)
        if chance.random() < 0.5 and self.is_connected:
            asking = asyncio.create_task(self._ask(number, event))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
        else:
            self._node.order("emit", name=self._name, event=event)

    async def _ask(self, number: int, event: list[Any]) -> None:
        """Emit with an ack: the server must not lose an acknowledged edit."""
        try:
            await self._node.ask("call", name=self._name, event=event)
        except AssertionError:
            return  # the connection was lost meanwhile
        self.client.sent[number] = replace(self.client.sent[number], accepted=True)

    def _heard(self, told: Message) -> None:
        if "event" in told:
            name, *arguments = told["event"]
            if name == "task:update":
                self._received(arguments[0]["edit"])
            elif name == "canvas:update":
                self._received(arguments[0][0]["edit"])
            elif name == "users:active":
                self.lists += 1
            elif name == "user:left":
                self.farewells += 1
        elif told["change"][0] == "connect":
            self.is_connected = True
            if not self.connects:
                for project in self.client.projects:
                    self._node.order("emit", name=self._name, event=["join-project", project])
            self.connects += 1
        elif told["change"][0] == "disconnect":
            self.is_connected = False

    def _received(self, edit_id: str) -> None:
        project, _, _ = edit_id.partition("/")
        self.client.received[project].append(edit_id)

    def has_heard(self, since: Mapping[int, int]) -> bool:
        """Whether it has got an edit in each project that is later than this many edits of its sender."""
        return all(
            any(number >= since[sender] for sender, number in map(_origin, self.client.received[project][-_RECENT:]))
            for project in self.client.projects
        )

    @property
    def has_all(self) -> bool:
        """Whether it is connected, and no sent edit waits for an ack."""
        return self.is_connected and not self._asking


class Host:
    """A place of successive servers, on one port and with the same settings."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self._folder = folder
        self._variables = {**_SETTINGS, "WS_PORT": str(free_port()), **variables}
        self.port = int(self._variables["WS_PORT"])
        self._process: ServerProcess | None = None

    @property
    def server(self) -> ServerProcess:
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        self._process = await asyncio.to_thread(lambda: ServerProcess(self._folder, **self._variables))

    async def kill(self) -> None:
        """End it at once."""
        await asyncio.to_thread(self.server.kill)

    async def stop(self) -> None:
        code = await asyncio.to_thread(self.server.stop)
        assert code == 0, self.server.output

    async def kill_each_worker(self) -> None:
        """End the workers at once, the next one when another worker is in the place of the one before."""
        workers = Workers(self.server)
        before = workers.pids
        assert len(before) > 1
        for number, pid in sorted(before.items()):
            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(PATIENCE):
                while workers.pids.get(number, pid) == pid:
                    await asyncio.sleep(0.02)
            await expect_health(self.server, status="healthy", workers=len(before))

    async def expect_healthy(self) -> None:
        await expect_health(self.server, status="healthy")


class Run:
    """Pages at work, and faults; `faults` counts them. `only` are the names of those that may happen, if not all.

    With two hosts there are an nginx in front of them, and a Redis that keeps its memory in a file or a set of several
    Redis. The faults are then its failover, and the deaths of workers where the hosts have several.
    """

    def __init__(
        self,
        hosts: list[Host],
        pages: list[Page],
        chance: random.Random,
        redis: RedisServer | RedisSet | None,
        *,
        has_workers: bool,
    ) -> None:
        self.hosts = hosts
        self.pages = pages
        self.faults: Counter[str] = Counter()
        self.only: Collection[str] = _KINDS
        self._has_workers = has_workers
        self._chance = chance
        self._redis = redis if isinstance(redis, RedisServer) else None
        self._set = None if isinstance(redis, RedisServer) else redis
        self._is_ordered = True

    @property
    def kinds(self) -> Mapping[str, Callable[["Run"], Awaitable[None]]]:
        """What goes wrong, in turns."""
        if self._set is not None:
            return {"a failover of Redis": Run.fail_over, **(FAULTS_OF_WORKERS if self._has_workers else {})}
        if self._has_workers:
            return FAULTS_OF_WORKERS
        kinds = FAULTS if self._redis is None else {**FAULTS, **FAULTS_OF_SEVERAL}
        return {name: fault for name, fault in kinds.items() if not self.only or name in self.only}

    async def work(self, seconds: float, *, kinds: int | None = None, patience: float = _RETURNED) -> None:
        """Let all pages edit during faults, for this time, and until `kinds` of faults have happened, or all.

        Then wait until everyone has returned and the checker finds no error, at most `patience` seconds.
        """
        async with asyncio.TaskGroup() as tasks:
            working = [tasks.create_task(self._edit(page)) for page in self.pages]
            breaking = tasks.create_task(self._break(seconds, len(self.kinds) if kinds is None else kinds))
            await breaking
            for task in working:
                task.cancel()
        await self._settle(patience)

    async def _settle(self, patience: float) -> None:
        """Wait until everyone is connected and has received everything.

        A page whose connection was cut at the end does not know of the cut yet.
        """
        async with asyncio.timeout(PATIENCE):
            while not all(page.has_all for page in self.pages):
                await asyncio.sleep(0.05)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while violations([page.client for page in self.pages]):
                    await asyncio.sleep(0.5)
        async with asyncio.timeout(PATIENCE):
            count = -1
            while count != (count := sum(len(ids) for page in self.pages for ids in page.client.received.values())):
                await asyncio.sleep(1)

    async def _edit(self, page: Page) -> None:
        chance = random.Random(self._chance.random())
        while True:
            page.edit(chance, is_ordered=self._is_ordered)
            await asyncio.sleep(chance.uniform(0.02, 0.3))

    async def _break(self, seconds: float, kinds: int) -> None:
        end = asyncio.get_running_loop().time() + seconds
        order: list[str] = []
        while asyncio.get_running_loop().time() < end or len(self.faults) < kinds:
            order = order or self._chance.sample(list(self.kinds), len(self.kinds))
            name = order.pop()
            await asyncio.sleep(self._chance.uniform(0.2, 1))
            await self.kinds[name](self)
            self.faults[name] += 1

    def _pick(self) -> Relay:
        return self._chance.choice(self.pages).relay

    # Connections

    async def reset(self) -> None:
        self._pick().reset()

    async def reset_all(self) -> None:
        for page in self.pages:
            page.relay.reset()

    async def vanish(self) -> None:
        """Close a connection only on the side of the page."""
        self._pick().vanish()

    async def silence(self) -> None:
        """Let a connection deliver nothing for longer than the ping timeout, and then break."""
        relay = self._pick()
        relay.is_stuck = True
        await asyncio.sleep(self._chance.uniform(0.5, 4))
        relay.is_stuck = False
        relay.cut()

    # Servers

    async def kill(self) -> None:
        host = self._chance.choice(self.hosts)
        await host.kill()
        await asyncio.sleep(self._chance.uniform(0, 0.5))
        await host.start()

    async def kill_workers(self) -> None:
        for host in self.hosts:
            await host.kill_each_worker()

    async def stop(self) -> None:
        """Restart a server by SIGTERM. If there are several, the last one stops at once."""
        await self.hosts[-1].stop()
        await self.hosts[-1].start()

    async def drain(self) -> None:
        await self.hosts[0].stop()
        await self.hosts[0].start()

    async def roll(self) -> None:
        for host in self.hosts:
            await host.stop()
            await host.start()
            await host.expect_healthy()

    # Redis

    async def pause_redis(self) -> None:
        """Freeze Redis for less than a link outlives."""
        assert self._redis is not None
        self._redis.pause()
        await asyncio.sleep(self._chance.uniform(*_PAUSE))
        self._redis.resume()

    async def pause_redis_for_long(self) -> None:
        """Freeze Redis for longer than a link outlives."""
        assert self._redis is not None
        async with self._without_order():
            self._redis.pause()
            await asyncio.sleep(_LONG_PAUSE)
            self._redis.resume()

    async def restart_redis(self) -> None:
        """Kill Redis, and start it again with its memory."""
        async with self._without_order():
            await self._restart_redis(keeps=True)

    async def empty_redis(self) -> None:
        """Kill Redis, and start it again without its memory."""
        async with self._without_order():
            await self._restart_redis(keeps=False)

    async def fail_over(self) -> None:
        """Let the master die, and one of its replicas take over, with fewer writes."""
        assert self._set is not None
        async with self._without_order():
            await asyncio.to_thread(self._set.fail_over)

    async def _restart_redis(self, *, keeps: bool) -> None:
        redis = self._redis
        assert redis is not None
        await asyncio.to_thread(redis.kill)
        await asyncio.sleep(self._chance.uniform(0, 2))
        if not keeps:
            redis.forget()
        await asyncio.to_thread(redis.start)

    @asynccontextmanager
    async def _without_order(self) -> AsyncIterator[None]:
        """Stop Redis while all pages are connected, since pages that return meanwhile lose their sessions.

        Edits of this time have no common order. All of them must reach all other members, once.
        """
        await self._hear_each_other()
        self._is_ordered = False
        await self._hear_each_other()
        yield
        for host in self.hosts:
            await host.expect_healthy()
        await self._hear_each_other()
        self._is_ordered = True

    async def _hear_each_other(self) -> None:
        """Wait until each page is connected, and has got an edit that was sent from now on."""
        async with asyncio.timeout(PATIENCE):
            while not all(page.is_connected for page in self.pages):
                await asyncio.sleep(0.02)
            since = {page.number: len(page.client.sent) for page in self.pages}
            while not all(page.is_connected and page.has_heard(since) for page in self.pages):
                await asyncio.sleep(0.02)


FAULTS_OF_CONNECTIONS: Final[Mapping[str, Callable[[Run], Awaitable[None]]]] = {
    "a reset": Run.reset,
    "resets of all": Run.reset_all,
    "a half-open connection": Run.vanish,
    "a silent line": Run.silence,
}
FAULTS: Final[Mapping[str, Callable[[Run], Awaitable[None]]]] = {
    **FAULTS_OF_CONNECTIONS,
    "kill -9": Run.kill,
    "SIGTERM": Run.stop,
}
FAULTS_OF_WORKERS: Final[Mapping[str, Callable[[Run], Awaitable[None]]]] = {
    "the death of each worker": Run.kill_workers,
}
FAULTS_OF_SEVERAL: Final[Mapping[str, Callable[[Run], Awaitable[None]]]] = {
    "a drain": Run.drain,
    "a rolling restart": Run.roll,
    "Redis pauses": Run.pause_redis,
    "Redis pauses for long": Run.pause_redis_for_long,
    "Redis restarts": Run.restart_redis,
    "Redis loses its memory": Run.empty_redis,
}


@asynccontextmanager
async def running(
    folder: Path,
    node: NodeProcess,
    seed: int,
    *,
    pages: int = 8,
    redis: RedisServer | RedisSet | None = None,
    **variables: str,
) -> AsyncIterator[Run]:
    """A server, or with a Redis two, with pages that have joined their projects.

    Two servers, and one with workers, are behind nginx.
    """
    hosts = [Host(folder, TRUSTED_PROXIES="127.0.0.1", **variables)]
    has_workers = "WS_WORKERS" in variables
    if redis is not None:
        shared = {"REDIS_URL": redis.url, "TRUSTED_PROXIES": "127.0.0.1", **variables}
        drains = (str(_DRAIN), "0")
        hosts = [Host(folder, SHUTDOWN_DRAIN=drain, **shared) for drain in drains]
    opened: list[Page] = []
    async with AsyncExitStack() as stack:
        for host in hosts:
            await host.start()
            stack.push_async_callback(host.kill)
        port = hosts[0].port
        if redis is not None or has_workers:
            port = stack.enter_context(running_nginx([host.port for host in hosts])).port
        for number in range(pages):
            relay = await stack.enter_async_context(relaying(port))
            page = Page(number, relay, node)
            stack.callback(page.close)
            page.open()
            opened.append(page)
        async with asyncio.timeout(PATIENCE):
            while not all(page.lists == len(page.client.projects) for page in opened):
                await asyncio.sleep(0.02)
        yield Run(hosts, opened, random.Random(seed), redis, has_workers=has_workers)
