"""A stop of several workers that share their Redis with other servers."""

import asyncio
import signal

import httpx
from tests.end_to_end.member import Member
from tests.end_to_end.worker_members import NUMBERS, TWO, Workers, connect, enter, expect_edit, leave
from tests.support.balancer import tcp_balancer
from tests.support.node_process import NodeProcess
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.server_process import StartServer, expect_health
from tests.support.servers import until
from tests.support.users import User

CONNECTIONS = 20


async def test_clients_leave_worker_by_worker_and_once(
    start_server: StartServer, node: NodeProcess, redis: RedisServer
) -> None:
    """While one worker drains, no other one takes clients: behind a balancer that sends new connections to the stopping
    server too, everybody is told once, and goes to the other server.
    """
    settings = TWO | {"SHUTDOWN_DRAIN": "3600", "REDIS_URL": redis.url}
    workers = Workers(start_server(**settings))
    other = start_server(**settings | {"WS_WORKERS": "1", "SHUTDOWN_DRAIN": "0"})
    async with tcp_balancer([workers.server.port]) as balancer:
        members = await enter(workers, node, at_least=6, url=balancer.url)
        balancer.targets.append(other.port)
        workers.server.signal()
        assert await asyncio.to_thread(workers.server.wait) == 0
        await until(lambda: all(len(member.ids) > 1 for member in members), PATIENCE)
        await expect_edit(members[0], members, "from another server")
        assert [len(member.got("server:shutdown")) for member in members] == [1] * len(members)
        assert [member.got("user:left") for member in members] == [[]] * len(members)
        await expect_health(other, connections=len(members))
        await leave(members)
    steps = [entry for entry in workers.entries if entry["event"] in ("draining", "stopping")]
    assert [(entry["event"], entry["worker"]) for entry in steps] == [
        ("draining", 0),
        ("stopping", 0),
        ("draining", 1),
        ("stopping", 1),
    ]
    assert [entry["clients"] for entry in steps if entry["event"] == "stopping"] == [0, 0]


async def test_connections_are_answered_until_the_last_worker_has_drained(
    start_server: StartServer, node: NodeProcess, redis: RedisServer
) -> None:
    """Also those that the kernel gives to a worker that has ended: a balancer learns that the server stops."""
    workers = Workers(start_server(**TWO | {"SHUTDOWN_DRAIN": "3600", "REDIS_URL": redis.url}))
    members: list[Member] = []
    while len(workers.of(1, members)) < 2:  # the first one leaves at once
        user = User(f"user-{next(NUMBERS)}", "Carol")
        members.append(await connect(workers, user, node, project=user.id))  # those of a project leave together
    await leave(workers.of(0, members))
    workers.server.signal(signal.SIGINT)
    await until(lambda: list(workers.pids) == [1], PATIENCE)
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=workers.server.url, trust_env=False, timeout=PATIENCE, limits=limits) as http:
        answers = await asyncio.gather(*(http.get("/ready") for _ in range(CONNECTIONS)))
    assert {answer.status_code for answer in answers} == {503}
    workers.server.signal(signal.SIGINT)
    assert await asyncio.to_thread(workers.server.wait) == 0
    await leave(workers.of(1, members))
