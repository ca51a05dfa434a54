"""A server with several workers, and members of its projects."""

import itertools
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from tests.end_to_end.member import Member
from tests.support.node_process import NodeProcess
from tests.support.processes import PATIENCE
from tests.support.real_clients import WAYS, Way
from tests.support.server_process import ServerProcess
from tests.support.servers import until
from tests.support.users import PROJECT, User

TWO = {"WS_WORKERS": "2", "LOG_FORMAT": "json", "PRESENCE_GRACE": "10", "SHUTDOWN_DRAIN": "1"}
NUMBERS = itertools.count()  # of the users: the log of a server that several tests use names each once


class Workers:
    """A server with two workers, and their processes."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.parent = psutil.Process(server.process.pid)

    @property
    def pids(self) -> dict[int, int]:
        """The process ids of the workers by their numbers."""
        return dict(self.processes)

    @property
    def processes(self) -> list[tuple[int, int]]:
        """The numbers and the process ids of the workers. During a reload several have one number."""
        found = []
        for process in self.parent.children():
            with suppress(psutil.NoSuchProcess):  # it has just ended
                variables = process.environ()
                if "SYNKORA_WORKER" in variables:
                    found.append((int(variables["SYNKORA_WORKER"]), process.pid))
        return found

    @property
    def redis(self) -> psutil.Process | None:
        return next((each for each in self.parent.children() if each.name() == "redis-server"), None)

    @property
    def folder(self) -> Path:
        return Path(psutil.Process(self.pids[0]).environ()["SYNKORA_WORKERS_DIR"])

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.server.stdout]

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["event"] == event]

    def of(self, number: int, members: list[Member]) -> list[Member]:
        """The members whose latest connection is one of this worker."""
        latest: dict[str, int] = {}
        for entry in self.logged("client_connected"):
            latest[entry["userId"]] = entry["worker"]
        return [member for member in members if latest[member.user.id] == number]


async def enter(workers: Workers, node: NodeProcess, at_least: int = 2, url: str = "") -> list[Member]:
    """Connect members of one project until each worker has some of them. Waits until all know all.

    The `url` is that of the server, unless it is given.
    """
    members: list[Member] = []
    while len(members) < at_least or not (workers.of(0, members) and workers.of(1, members)):
        assert len(members) < 60, "one worker gets all clients"
        number = next(NUMBERS)
        way = WAYS[("js-websocket", "js-upgrade", "js-polling")[number % 3]]
        member = await connect(workers, User(f"user-{number}", "Carol"), node, way=way, url=url)
        members.append(member)
    await expect_whole(members)
    return members


async def connect(
    workers: Workers,
    user: User,
    node: NodeProcess,
    project: str = PROJECT,
    way: Way = WAYS["js-websocket"],
    url: str = "",
) -> Member:
    """Connect a new member, and wait until the log says on which worker."""
    member = Member(user, way, node, project=project)
    await member.connect(url or workers.server.url, {"token": user.token})
    if way.upgrades:
        await member.upgraded()
    await until(lambda: any(entry["userId"] == user.id for entry in workers.logged("client_connected")), PATIENCE)
    return member


async def expect_whole(members: list[Member]) -> None:
    everyone = {member.user.id for member in members}
    try:
        await until(lambda: all(member.sees == everyone and member.counted == len(everyone) for member in members))
    except TimeoutError:
        raise AssertionError([(member.user.id, member.counted, member.sees) for member in members]) from None


async def expect_edit(sender: Member, members: list[Member], task: str) -> None:
    """An edit reaches each other member."""
    await sender.emit("task:create", {"projectId": sender.project, "task": task})
    others = [member for member in members if member is not sender]
    await until(lambda: all(["task:create", task] in member.events.items for member in others), PATIENCE)


async def leave(members: list[Member]) -> None:
    for member in members:
        await member.close()
