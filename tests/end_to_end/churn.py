"""Clients that connect, sign in, join, send something, and leave in one of seven ways."""

import asyncio
import json
from collections.abc import Iterator

from tests.end_to_end.raw import Closed, Packet, RawWebSocket
from tests.support.server_process import ServerProcess
from tests.support.users import ALICE, BOB, CAROL
from tests.support.wire import CLOSE, Connection, client_frame

AT_A_TIME = 200
PROJECTS = 50
TOKENS = [user.token for user in (ALICE, BOB, CAROL)]


async def visit_by_websocket(server: ServerProcess, number: int) -> None:
    """Sign in, join, send something, and leave in one of five ways."""
    carrier = await RawWebSocket.open(server)
    project = f"project {number % PROJECTS}"
    await carrier.send(
        "40" + json.dumps({"token": TOKENS[number % len(TOKENS)]}),
        "42" + json.dumps(["join-project", project]),
        "42" + json.dumps(["canvas:update", {"projectId": project, "changes": "x" * 1000}]),
        '42["ping"]',
    )
    packet: Packet = ""
    while not (isinstance(packet, str) and packet.startswith('42["pong"')):
        assert not isinstance(packet, Closed)
        packet = await carrier.receive()  # others come and go as well
        if packet == "2":
            await carrier.send("3")
    match number % 5:
        case 0:
            await carrier.send("42" + json.dumps(["leave-project", project]), "41")
        case 1:
            await carrier.send("1")
        case 2:
            await carrier.send_bytes(client_frame(CLOSE, (1000).to_bytes(2)))
        case 3:
            await carrier.send("this is no packet")
        case 4:
            carrier.connection.abort()
    await carrier.close()


async def visit_by_polling(server: ServerProcess, number: int) -> None:
    """Sign in, join, and leave in one of two ways."""
    connection = await Connection.open(server.port)

    async def exchange(method: str, sid: str = "", body: str = "") -> str:
        await connection.send(
            f"{method} /socket.io/?EIO=4&transport=polling{sid} HTTP/1.1\r\nHost: x\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = await connection.head()
        size = int(head.lower().split("content-length: ")[1].split()[0])
        return (await connection.read(size)).decode()

    async def poll_for(part: str) -> None:
        received = ""
        while part not in received:
            received = await exchange("GET", sid)
            if "2" in received.split("\x1e"):
                await exchange("POST", sid, "3")

    sid = "&sid=" + json.loads((await exchange("GET"))[1:])["sid"]
    await exchange("POST", sid, "40" + json.dumps({"token": TOKENS[number % len(TOKENS)]}))
    await poll_for("40{")
    await exchange("POST", sid, f'42["join-project","project {number % PROJECTS}"]')
    await poll_for('"users:count"')
    await exchange("POST", sid, "1" if number % 2 else "41\x1e1")
    await connection.close()


async def come_and_go(server: ServerProcess, clients: int) -> None:
    async def visit(numbers: Iterator[int]) -> None:
        for number in numbers:
            await (visit_by_polling if number % 10 == 9 else visit_by_websocket)(server, number // 10 * 7 + number)

    numbers = iter(range(clients))
    await asyncio.gather(*(visit(numbers) for _ in range(AT_A_TIME)))
