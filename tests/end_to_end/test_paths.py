"""The notations of Socket.IO's path by clients and proxies: both transports accept the same ones."""

import pytest
from tests.support.server_process import ServerProcess
from tests.support.wire import Connection, request, upgrade

FORMS = {
    "/socket.io/": True,
    "/socket.io": True,
    "/%73ocket%2Eio/": True,
    "/socket.io%2F": True,
    "http://app.example.com/socket.io/": True,
    "http://app.example.com:80/socket.io": True,
    "/socket.io/more": True,
    "/socket.iox": False,
    "/socket.io%25": False,
    "//socket.io/": False,
    "http://app.example.com/other/socket.io/": False,
}


@pytest.mark.parametrize("transport", ["polling", "websocket"])
@pytest.mark.parametrize(("path", "is_ours"), FORMS.items())
async def test_both_transports_take_the_same_paths(
    server: ServerProcess, transport: str, path: str, is_ours: bool
) -> None:
    """A path may lack its last slash, be percent-encoded, or follow a scheme and a host. Others are not found."""
    connection = await Connection.open(server.port)
    polling = request("GET", f"{path}?EIO=4&transport=polling")
    await connection.send(upgrade(path=path) if transport == "websocket" else polling)
    status = (await connection.head()).split(" ")[1]
    await connection.close()
    assert status == ("404" if not is_ours else "101" if transport == "websocket" else "200")
