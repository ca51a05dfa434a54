"""Every event of the app reaches the others in the project, over every transport."""

import asyncio
from typing import Any

import pytest
from tests.end_to_end.relays import ROWS, Row
from tests.support.real_clients import WAYS, Connect, join, join_both
from tests.support.users import ALICE, BOB, CAROL, PROJECT


def filled(delivery: Any, sender_id: str) -> Any:
    if isinstance(delivery, dict) and "socketId" in delivery:
        return {**delivery, "socketId": sender_id}
    return delivery


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_other_members_get_a_members_events(connect: Connect, row: Row) -> None:
    """Bob gets it. Alice, who sent it, and Carol in another project do not. Further fields are ignored."""
    alice, bob, carol = await connect(ALICE), await connect(BOB), await connect(CAROL)
    await join(alice)
    await join(bob, alice)
    await join(carol, project="another project")

    await alice.emit(row.event, {"projectId": PROJECT, **row.sent, "userId": CAROL.id, "socketId": carol.id})
    assert await bob.next() == [row.event, filled(row.got, alice.id)]
    await alice.emit(row.event, {"projectId": PROJECT})
    assert await bob.next() == [row.event, filled(row.got_of_nothing, alice.id)]

    for client in (alice, bob, carol):
        await client.hears_nothing()


async def test_binary_data_is_relayed_unchanged(connect: Connect) -> None:
    """Attachments of a canvas change arrive in their places, and later events arrive afterwards."""
    alice, bob = await join_both(connect)
    large = bytes(range(256)) * 256
    changes = {"layers": [{"pixels": b"\x00\xff\x1e"}, {"pixels": large}], "empty": b"", "count": 2}
    await alice.emit("canvas:update", {"projectId": PROJECT, "changes": changes})
    await alice.emit("canvas:update", {"projectId": PROJECT, "changes": b"\x01"})
    await alice.emit("markdown:update", {"projectId": PROJECT, "fileId": "f1", "content": "text"})
    assert await bob.next() == ["canvas:update", changes]
    assert await bob.next() == ["canvas:update", b"\x01"]
    assert await bob.next() == ["markdown:update", {"fileId": "f1", "content": "text"}]


async def test_clients_of_all_kinds_collaborate(connect_by: Connect) -> None:
    """In one project, every client gets the others' events in order, over every transport."""
    everyone = [await connect_by(ALICE, way=way) for way in WAYS.values()]
    for index, client in enumerate(everyone):
        await join(client, *everyone[:index])
    for sender in everyone:
        for number in range(20):
            change = {"n": number, "pixels": bytes(number)} if number % 4 == 0 else number
            await sender.emit("canvas:update", {"projectId": PROJECT, "changes": change})
            for client in everyone:
                if client is not sender:
                    assert await client.next() == ["canvas:update", change]


async def test_nothing_is_lost_on_the_way_to_websocket(connect_by: Connect) -> None:
    """Events of both directions during an upgrade arrive once and in order, with or without binary data."""
    alice = await connect_by(ALICE)
    await join(alice)
    for _ in range(5):
        bob = await connect_by(BOB, way=WAYS["js-upgrade"], upgraded=False)
        await join(bob, alice)
        changes = [bytes([number]) if number % 3 == 0 else number for number in range(100)]
        for change in changes:
            await alice.emit("canvas:update", {"projectId": PROJECT, "changes": change})
            await bob.emit("canvas:update", {"projectId": PROJECT, "changes": change})
            await asyncio.sleep(0)
        for client in (alice, bob):
            assert [await client.next() for _ in changes] == [["canvas:update", change] for change in changes]
        await bob.upgraded()
        await bob.hears_nothing()
        await bob.close()
        for event in ("user:left", "users:active", "users:count"):
            await alice.expect(event)
