"""Users at work, for the console's screenshots and tests."""

import asyncio
import itertools
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.end_to_end.raw import RawClient, RawWebSocket, enter
from tests.support.node_process import NodeProcess
from tests.support.real_clients import WAYS, Client
from tests.support.server_process import ServerProcess
from tests.support.users import User

_NAMES: Final = """
    Alice Moreau, Bob Tanaka, Carol Nwosu, Dave Lindqvist, Ines Ferreira, Frank Osei, Judy Albrecht, Ken Watanabe,
    Lena Novak, Marco Rossi, Nadia Haddad, Omar Siddiqui, Paula Jensen, Quentin Leroy, Rosa Delgado, Sam Okafor,
    Tara Singh, Uri Levi, Vera Petrova, Will Hughes, Xenia Papadaki, Yusuf Demir, Zoe Martin, Anton Weber
"""
PROJECTS: Final = ("website-launch", "autumn-catalogue", "mobile-app", "annual-report", "onboarding")
_TURN: Final = 0.25  # seconds
_LINE: Final = "The launch is on Thursday. " * 40


_HOW_OFTEN: Final = (60, 20, 9, 4, 3, 3, 1)  # what `_doings` has


def _doings(chance: random.Random) -> list[tuple[str, dict[str, object]]]:
    return [
        ("canvas:cursor", {"position": {"x": chance.random(), "y": chance.random()}}),
        ("markdown:cursor", {"fileId": "brief", "position": {"from": 1, "to": 1}}),
        ("canvas:update", {"changes": {"stroke": "s", "points": [[chance.random(), chance.random()]] * 8}}),
        ("markdown:update", {"fileId": "brief", "content": _LINE}),
        ("typing:start", {"context": "document", "timestamp": 0}),
        ("spreadsheet:selection", {"selection": {"cell": "B4"}}),
        ("task:move", {"taskId": "t1", "status": "DONE"}),
    ]


class Worker:
    """A user in a project, who acts at random."""

    def __init__(self, client: Client | RawClient, project: str) -> None:
        self._client = client
        self._project = project

    async def work(self, chance: random.Random) -> None:
        """Do something: most often, move the cursor."""
        event, payload = chance.choices(_doings(chance), _HOW_OFTEN)[0]
        await self._client.emit(event, {"projectId": self._project, **payload})


async def work(workers: list[Worker]) -> None:
    """Do something: most often, move the cursor."""
    chance = random.Random(7)
    for turn in itertools.count():
        busy = 0.55 + 0.35 * math.sin(turn * _TURN / 14) + 0.1 * chance.random()
        for worker in workers:
            if chance.random() < busy:
                await worker.work(chance)
        await asyncio.sleep(_TURN)


@asynccontextmanager
async def at_work(node: NodeProcess, servers: list[ServerProcess], seconds: float) -> AsyncIterator[None]:
    """Users that have worked for some seconds when the block begins, and continue in it.

    One of them has a very slow connection.
    """
    clients: list[Client] = []
    workers: list[Worker] = []
    working = asyncio.create_task(work(workers))
    names = [name.strip() for name in _NAMES.split(",")]
    for number, name in enumerate(names):
        user = User(f"user-{1001 + number}", name)
        client = Client(name, WAYS["js-polling" if number % 8 == 5 else "js-websocket"], node)
        clients.append(client)
        await client.connect(servers[number % len(servers)].url, {"token": user.token})
        project = PROJECTS[number * number % len(PROJECTS)]
        await client.emit("join-project", project)
        workers.append(Worker(client, project))
        await asyncio.sleep(seconds / (2 * len(names)))
    slow = await RawWebSocket.open(servers[0], slow=True)
    await enter(RawClient(slow), User("user-1999", "Stan Fisher"), PROJECTS[0])
    await clients[0].emit("join-project")  # of which project it does not say
    await asyncio.sleep(seconds / 2)
    yield
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await slow.close()
    for client in clients:
        await client.close()
