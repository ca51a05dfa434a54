"""A run of one or several servers with clients that work while connections and servers break repeatedly."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.recovery.checker import Client, Edit, violations
from tests.support.node_process import Message, NodeProcess
from tests.support.people import Person
from tests.support.processes import PATIENCE, free_port
from tests.support.real_clients import APP_OPTIONS
from tests.support.relay import Relay, relaying
from tests.support.server_process import ServerProcess

PROJECTS: Final = ("project-a", "project-b")
#: A connection that only seems alive lasts for up to three seconds.
_SETTINGS: Final = {
    "LIMIT_EDIT_RATE": "1000",
    "LIMIT_FAILED_SIGN_INS": "0",
    "RECOVERY": "true",
    "PRESENCE_GRACE": "30",  # longer than a page is away
    "SHUTDOWN_TIMEOUT": "1",
    "WS_PING_INTERVAL": "1",
    "WS_PING_TIMEOUT": "2",
}
_OPTIONS: Final = {**APP_OPTIONS, "reconnectionDelay": 50, "reconnectionDelayMax": 500, "timeout": 2000}
_TRANSPORTS: Final = (["websocket"], ["polling"], ["polling", "websocket"])
_RETURNED: Final = 10  # seconds within which everyone is back, on a busy machine
_KEYS: Final = 5  # tasks that are edited again and again


class Page:
    """A page that joins its projects once, on mount. `client` is the checker's record."""

    def __init__(self, number: int, relay: Relay, node: NodeProcess) -> None:
        person = Person(f"user-{number // 2}", f"User {number // 2}")  # two tabs each
        projects = PROJECTS if number % 3 == 0 else PROJECTS[number % 2 :][:1]
        self.client = Client(f"page {number}", projects)
        self.relay = relay
        self.is_connected = False
        self.connects = 0
        self.lists = 0  # of users, that it has got: one for each join
        self.farewells = 0  # how often it was told that somebody has left
        self._number = number
        self._token = person.token
        self._node = node
        self._name = node.listen(self._heard)
        self._asking: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Connect."""
        transports = _TRANSPORTS[self._number % len(_TRANSPORTS)]
        options = {**_OPTIONS, "auth": {"token": self._token}, "transports": transports}
        self._node.order("open", name=self._name, url=f"http://127.0.0.1:{self.relay.port}", options=options)

    def close(self) -> None:
        """Disconnect."""
        for task in self._asking:
            task.cancel()
        self._node.order("close", name=self._name)

    def edit(self, chance: random.Random) -> None:
        """Edit something: a task, or the canvas, whose edits are all kept."""
        number = len(self.client.sent)
        project = chance.choice(self.client.projects)
        edit_id = f"{project}/{self._number}-{number}"
        if chance.random() < 0.5:
            task = f"task-{chance.randrange(_KEYS)}"
            event = ["task:update", {"projectId": project, "task": {"id": task, "edit": edit_id}}]
            edit = Edit(edit_id, project, task)
        else:
            event = ["canvas:update", {"projectId": project, "changes": [{"edit": edit_id}]}]
            edit = Edit(edit_id, project)
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

    async def start(self) -> None:
        self._process = await asyncio.to_thread(lambda: ServerProcess(self._folder, **self._variables))

    async def kill(self) -> None:
        """End it at once."""
        assert self._process is not None
        await asyncio.to_thread(self._process.kill)

    async def stop(self) -> None:
        """Stop it like a service manager."""
        assert self._process is not None
        code = await asyncio.to_thread(self._process.stop)
        assert code == 0, self._process.output


class Run:
    """Pages at work, and what goes wrong meanwhile; `faults` counts it.

    With several hosts a page that loses its connection may return to another one.
    """

    def __init__(self, hosts: list[Host], pages: list[Page], chance: random.Random) -> None:
        self.hosts = hosts
        self.pages = pages
        self.faults: Counter[str] = Counter()
        self._chance = chance

    async def work(self, seconds: float, *, kinds: int, patience: float = _RETURNED) -> None:
        """Have all pages edit, and things go wrong, for so long, and until `kinds` of faults were there.

        Then wait until everyone has come back, and until the checker finds nothing, for `patience` seconds at most.
        """
        async with asyncio.TaskGroup() as tasks:
            working = [tasks.create_task(self._edit(page)) for page in self.pages]
            breaking = tasks.create_task(self._break(seconds, kinds))
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
            page.edit(chance)
            await asyncio.sleep(chance.uniform(0.02, 0.3))

    async def _break(self, seconds: float, kinds: int) -> None:
        end = asyncio.get_running_loop().time() + seconds
        order: list[str] = []
        while asyncio.get_running_loop().time() < end or len(self.faults) < kinds:
            order = order or self._chance.sample(list(FAULTS), len(FAULTS))
            name = order.pop()
            await asyncio.sleep(self._chance.uniform(0.2, 1))
            await FAULTS[name](self)
            self.faults[name] += 1

    def _pick(self) -> Relay:
        """Pick a page's relay, and the host that it leads to from now on."""
        relay = self._chance.choice(self.pages).relay
        relay.target = self._chance.choice(self.hosts).port
        return relay

    async def reset(self) -> None:
        """Reset a connection."""
        self._pick().reset()

    async def reset_all(self) -> None:
        """Reset all connections."""
        for page in self.pages:
            page.relay.target = self._chance.choice(self.hosts).port
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

    def _leave(self) -> Host:
        """Pick a host, and lead its pages to the others, if there are any."""
        host = self._chance.choice(self.hosts)
        others = [other for other in self.hosts if other is not host] or [host]
        for page in self.pages:
            if page.relay.target == host.port:
                page.relay.target = self._chance.choice(others).port
        return host

    async def kill(self) -> None:
        """Kill a server, and start it again."""
        host = self._leave()
        await host.kill()
        await asyncio.sleep(self._chance.uniform(0, 0.5))
        await host.start()

    async def stop(self) -> None:
        """Stop it like a service manager."""
        host = self._leave()
        await host.stop()
        await host.start()


#: What goes wrong, in turns.
FAULTS: Final = {
    "a reset": Run.reset,
    "resets of all": Run.reset_all,
    "a half-open connection": Run.vanish,
    "a silent line": Run.silence,
    "kill -9": Run.kill,
    "SIGTERM": Run.stop,
}


@asynccontextmanager
async def running(
    folder: Path, node: NodeProcess, seed: int, pages: int = 8, instances: int = 1, **variables: str
) -> AsyncIterator[Run]:
    """Servers with pages that have joined their projects."""
    hosts = [Host(folder, **variables) for _ in range(instances)]
    opened: list[Page] = []
    async with AsyncExitStack() as stack:
        for host in hosts:
            await host.start()
            stack.push_async_callback(host.kill)
        for number in range(pages):
            relay = await stack.enter_async_context(relaying(hosts[number // 2 % instances].port))
            page = Page(number, relay, node)
            stack.callback(page.close)
            page.open()
            opened.append(page)
        async with asyncio.timeout(PATIENCE):
            while not all(page.lists == len(page.client.projects) for page in opened):
                await asyncio.sleep(0.02)
        yield Run(hosts, opened, random.Random(seed))
