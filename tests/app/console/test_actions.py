"""What operators do through the console."""

import json
from typing import Any

import pytest
from tests.app.console.desk import Desk
from tests.collaboration.site import MemoryClient, turn

from synkora.collaboration.blocks import LONGEST_BLOCK, MAX_BLOCKS, Block
from synkora.engine.incidents import IncidentKind


async def refusal_of(client: MemoryClient) -> Any:
    await turn()
    (packet,) = [packet for packet in client.transport.packets if packet.startswith(b"44")]
    return json.loads(packet[2:])


async def test_a_user_is_blocked(desk: Desk) -> None:
    """All connections of the user end. New ones are refused with the remaining time. Other users stay."""
    alice, again, bob = await desk.site.meet("Alice", "Alice", "Bob")
    assert await desk.act("block", userId="alice", seconds=600) == {"disconnected": 2, "unanswered": []}
    await turn()
    for client in (alice, again):
        assert client.transport.packets[-1] == b"41"
        assert client.transport.closed_with is not None
    assert bob.transport.closed_with is None
    refused = await refusal_of(desk.site.come("Alice"))
    assert refused["message"] == "Blocked by the operators of this server"
    assert 590 < refused["data"]["retryAfter"] <= 600
    assert desk.site.server.incidents.totals[IncidentKind.BLOCKED_CLIENT_REFUSED] == 1
    (block,) = (await desk.ask("blocks"))["blocks"]
    assert (block["kind"], block["name"]) == ("user", "alice")


async def test_an_address_is_blocked(desk: Desk) -> None:
    await desk.site.meet("Alice", "Bob")
    assert (await desk.act("block", address="192.0.2.1", seconds=60))["disconnected"] == 2
    assert (await refusal_of(desk.site.come("Carol")))["data"]["retryAfter"] <= 60


async def test_a_block_is_lifted(desk: Desk) -> None:
    """The user can connect again. Only an existing block can be lifted."""
    await desk.act("block", userId="alice", seconds=600)
    assert await desk.act("unblock", userId="bob") == {"unblocked": False, "unanswered": []}
    assert await desk.act("unblock", userId="alice") == {"unblocked": True, "unanswered": []}
    assert await desk.act("unblock", userId="alice") == {"unblocked": False, "unanswered": []}
    assert (await desk.ask("blocks"))["blocks"] == []
    (alice,) = await desk.site.meet("Alice")
    assert alice.id


async def test_all_of_a_user_are_disconnected(desk: Desk) -> None:
    """Without a block, clients may reconnect immediately."""
    await desk.site.meet("Alice", "Alice")
    assert (await desk.act("block", userId="alice"))["disconnected"] == 2
    assert (await desk.ask("blocks"))["blocks"] == []
    (alice,) = await desk.site.meet("Alice")
    assert alice.id


async def test_each_is_logged(desk: Desk) -> None:
    for seconds in (600, 0):
        await desk.act("block", userId="alice", seconds=seconds)
    await desk.act("unblock", userId="alice")
    await desk.act("block", address="2001:db8::1", seconds=60)
    entries = (await desk.ask("log", level="warning"))["entries"]
    assert [entry["text"] for entry in entries] == [
        "✗ Blocked from the console, by 192.0.2.1: the user alice, for 600 s",
        "✗ Disconnected from the console, by 192.0.2.1: all of the user alice",
        "✓ No longer blocked, by 192.0.2.1: the user alice",
        "✗ Blocked from the console, by 192.0.2.1: the address 2001:db8::/64, for 60 s",
    ]


async def test_the_number_of_blocks_is_limited(desk: Desk) -> None:
    """A further block is refused, and disconnects no client."""
    for number in range(MAX_BLOCKS):
        desk.site.collaboration.blocks.add(Block("user", f"user-{number}", 9e9, 0))
    (alice,) = await desk.site.meet("Alice")
    status, words = await desk.refusal("POST", "block", json={"userId": "alice", "seconds": 600})
    assert status == 409
    assert str(MAX_BLOCKS) in words
    assert alice.transport.closed_with is None


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"seconds": 60}, "userId"),
        ({"userId": "a", "address": "192.0.2.1", "seconds": 60}, "either a userId"),
        ({"userId": "a", "seconds": LONGEST_BLOCK + 1}, "seconds"),
        ({"userId": "a", "seconds": -1}, "seconds"),
        ({"userId": "a" * 201, "seconds": 60}, "userId"),
        ({"address": "example.com", "seconds": 60}, "address"),
        ({"address": "192.0.2.0/24", "seconds": 60}, "address"),
        ({"address": "2001:db8::/32", "seconds": 60}, "address"),
    ],
)
async def test_an_invalid_block_is_refused(desk: Desk, body: Any, named: str) -> None:
    status, words = await desk.refusal("POST", "block", json=body)
    assert status == 422
    assert named in words
    assert (await desk.ask("blocks"))["blocks"] == []
