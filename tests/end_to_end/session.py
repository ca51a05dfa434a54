"""What tests ask the fixtures for, and what happens on the way into a project."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from tests.end_to_end.clients import Client
from tests.end_to_end.people import ALICE, BOB, CAROL
from tests.end_to_end.server_process import ServerProcess
from tests.support.processes import PATIENCE

PROJECT = "proj_456"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


#: Starts a server with these settings, which is stopped when the test is over.
StartServer = Callable[..., ServerProcess]

#: Connects somebody, who is disconnected when the test is over: see the fixture `connect_by`.
Connect = Callable[..., Awaitable[Client]]


async def join(client: Client, *others: Client, project: str = PROJECT) -> None:
    """Join a project, and take from everyone's events what that tells them; `others` are in the project already."""
    await client.emit("join-project", project)
    await client.expect("users:active")
    await client.expect("users:count")
    for other in others:
        await other.expect("user:joined")
        await other.expect("users:count")


async def expect_health(server: ServerProcess, **wanted: object) -> dict[str, Any]:
    """Wait until `/health` says what is `wanted`; return all that it says."""
    health: dict[str, Any] = {}
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, trust_env=False) as http:
        try:
            async with asyncio.timeout(PATIENCE):
                while not wanted.items() <= health.items():
                    await asyncio.sleep(0.02)
                    health = (await http.get("/health")).json()
        except TimeoutError:
            raise AssertionError(f"{wanted} is not in {health}") from None
    return health


async def join_one_and_two(connect: Connect) -> tuple[Client, Client, Client]:
    """Alice, who is in the projects `one` and `two`, with Bob in the one and Carol in the other."""
    alice, bob, carol = await connect(ALICE), await connect(BOB), await connect(CAROL)
    await join(alice, project="one")
    await join(alice, project="two")
    await join(bob, alice, project="one")
    await join(carol, alice, project="two")
    return alice, bob, carol


async def join_both(connect: Connect, **details: Any) -> tuple[Client, Client]:
    """Alice and Bob, who have joined the project; `details` are those of their connections."""
    alice, bob = await connect(ALICE, **details), await connect(BOB, **details)
    await join(alice)
    await join(bob, alice)
    return alice, bob


async def exchange_large_message(alice: Client, bob: Client) -> None:
    """Have Bob get what Alice sends: it looks like a handshake, and is as large as WS_MAX_PAYLOAD allows."""
    await join(alice)
    await join(bob, alice)
    task = ['0{"sid":"', "x" * 990_000]
    await alice.emit("task:create", {"projectId": PROJECT, "task": task})
    assert await bob.next() == ["task:create", task]
    await alice.close()
    await bob.close()
