"""Options of the real client that change the wire format."""

import pytest
from tests.support.real_clients import WAYS, Connect, join
from tests.support.users import ALICE, BOB, PROJECT

OPTIONS = {
    "forceBase64": {"forceBase64": True},
    "protocols": {"protocols": ["v2.synkora", "v1.synkora"]},
    "addTrailingSlash": {"addTrailingSlash": False},
    "query": {"query": {"name": "a b/ü&=?"}},
}


@pytest.mark.parametrize("name", ["js-polling", "js-websocket", "js-upgrade"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
async def test_a_client_with_an_option_collaborates(connect_by: Connect, name: str, options: dict[str, object]) -> None:
    """It exchanges text and binary data with another client, over every transport."""
    alice = await connect_by(ALICE, way=WAYS[name]._replace(options=tuple(options.items())))
    bob = await connect_by(BOB)
    await join(alice)
    await join(bob, alice)
    for sender, receiver in ((alice, bob), (bob, alice)):
        await sender.emit("task:create", {"projectId": PROJECT, "task": {"title": "Tea", "image": b"\x00\xff"}})
        assert await receiver.next() == ["task:create", {"title": "Tea", "image": b"\x00\xff"}]
