"""The real client over a connection with a slow upload."""

import pytest
from tests.support.real_clients import WAYS, Connect, join
from tests.support.relay import relaying
from tests.support.server_process import StartServer
from tests.support.users import ALICE, BOB, PROJECT

DOCUMENT = "x" * 400_000
RATE = 50_000  # bytes a second


@pytest.mark.parametrize("name", ["js-polling", "js-websocket"])
async def test_a_long_upload_arrives(start_server: StartServer, connect_by: Connect, name: str) -> None:
    """A pong waits behind a large edit, longer than its timeout. The edit arrives, and the client stays connected.

    Meanwhile pings come every two seconds. The client allows four between them: a busy machine delays pings.
    """
    server = start_server(WS_PING_INTERVAL="2", WS_PING_TIMEOUT="2")
    async with relaying(server.port) as relay:
        alice = await connect_by(ALICE, url=f"http://127.0.0.1:{relay.port}", way=WAYS[name])
        bob = await connect_by(BOB, url=server.url)
        await join(alice)
        await join(bob, alice)
        relay.upload_rate = RATE
        await alice.emit("task:create", {"projectId": PROJECT, "task": DOCUMENT})
        await alice.emit("task:create", {"projectId": PROJECT, "task": "after"})
        first = await bob.next()
        assert [change[0] for change in alice.changes.items] == ["connect"], alice.changes.items
        assert first == ["task:create", DOCUMENT]
        assert await bob.next() == ["task:create", "after"]
        await alice.hears_nothing()
        assert [change[0] for change in alice.changes.items] == ["connect"]
        await alice.close()
