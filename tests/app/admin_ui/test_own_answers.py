"""The bounds on an instance's description of its sockets."""

import pytest
from tests.collaboration.site import MemoryClient, Site, token_of, turn
from tests.support.sessions import MemoryTransport, request_of

from synkora.app.admin_ui import own_answers as instance_module
from synkora.app.admin_ui.own_answers import AdminUiInstance
from synkora.app.all_instances import Nothing
from synkora.app.instance import Instance
from synkora.protocol.json import encode


async def described(site: Site) -> list[dict[str, object]]:
    sockets = await AdminUiInstance(Instance(site.server, site.collaboration))._sockets(Nothing())
    return [{"rooms": socket.rooms, "size": len(encode(socket))} for socket in sockets]


async def test_long_headers_are_cut() -> None:
    """Descriptions go to other instances through Redis, which disconnects clients that send very large messages."""
    site = Site()
    request = request_of(user_agent="\x80" * 15_000, accept_language="x" * 15_000)
    MemoryClient(site.server, token_of("Mallory"), MemoryTransport(), request)
    await turn()
    (socket,) = await described(site)
    assert isinstance(socket["size"], int)
    assert socket["size"] < 2000


async def test_rooms_past_a_bound_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients choose the names and the number of their projects. A socket's own room is always included."""
    monkeypatch.setattr(instance_module, "_ROOM_NAMES", 1000)
    site = Site()
    clients = await site.meet("Alice", "Mallory", project="p")
    for number in range(10):
        clients[1].emit("join-project", f"{number}".ljust(200, "x"))
    await turn()
    assert [socket["rooms"] for socket in await described(site)] == [sorted(["p", clients[0].id]), [clients[1].id]]
