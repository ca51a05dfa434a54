"""A real server's log: JSON, with request ids, and without users' data."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.end_to_end.raw import RawClient, RawPolling, RawWebSocket
from tests.end_to_end.relays import ROWS
from tests.support.real_clients import Connect, join_both
from tests.support.server_process import ServerProcess, StartServer
from tests.support.users import ALICE, PROJECT, issue

from synkora import __version__

#: The text that users put into every field.
PRIVATE = "what-nobody-else-may-read-4be1"
COOKIE = "cookie-of-another-4be1"
METRICS_TOKEN = "the-token-for-metrics-4be1"


def entries(server: ServerProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.stdout]


async def test_every_line_is_an_object(start_server: StartServer, connect_by: Connect) -> None:
    """From the first to the last, with consistent field names."""
    server = start_server_in_json(start_server)
    alice, bob = await join_both(connect_by, url=server.url)
    await alice.emit("task:create", {"projectId": PROJECT, "task": {}})
    await bob.expect("task:create")
    alice_id = alice.id
    await alice.close()
    await bob.expect("user:left")
    assert await asyncio.to_thread(server.stop) == 0
    logged = entries(server)
    assert all(list(entry)[:4] == ["timestamp", "level", "event", "instanceId"] for entry in logged)
    assert len({entry["instanceId"] for entry in logged}) == 1
    assert [entry["timestamp"] for entry in logged] == sorted(entry["timestamp"] for entry in logged)
    hers = [entry for entry in logged if entry.get("socketId") == alice_id]
    assert [entry["event"] for entry in hers] == [
        "client_connected",
        "project_joined",
        "relayed",
        "client_disconnected",
    ]
    assert {(entry["userId"], entry["userName"]) for entry in hers} == {(ALICE.id, ALICE.name)}
    assert {entry["projectId"] for entry in hers[1:3]} == {PROJECT}
    assert hers[-1]["reason"] == "client namespace disconnect"
    assert 0 < hers[-1]["duration"] < 60
    assert (logged[0]["event"], logged[0]["port"], logged[0]["version"]) == ("started", server.port, __version__)
    assert logged[-1]["event"] == "stopped"


def start_server_in_json(start_server: StartServer) -> ServerProcess:
    return start_server(LOG_FORMAT="json", LOG_LEVEL="debug", METRICS_TOKEN=METRICS_TOKEN)


async def test_log_lines_of_a_request_have_its_id(start_server: StartServer) -> None:
    """A refusal, and a client's actions by a POST. The response has the same id."""
    server = start_server_in_json(start_server)
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        url = "/socket.io/?EIO=4&transport=polling"
        refused = await http.get(url, headers={"Origin": "https://evil.example", "X-Request-Id": "refused-1"})
        assert (refused.status_code, refused.headers["x-request-id"]) == (403, "refused-1")
        sid = json.loads((await http.get(url)).text[1:])["sid"]
        connect = "40" + json.dumps({"token": issue(ALICE.claims)})
        posted = await http.post(f"{url}&sid={sid}", content=connect, headers={"X-Request-Id": "posted-1"})
        assert posted.headers["x-request-id"] == "posted-1"
        joined = await http.post(f"{url}&sid={sid}", content='42["join-project","p"]')
        await http.post(f"{url}&sid={sid}", content="1")
    assert await asyncio.to_thread(server.stop) == 0
    ids = {entry["event"]: entry.get("requestId") for entry in entries(server)}
    assert ids["incident"] == "refused-1"
    assert ids["client_connected"] == "posted-1"
    assert ids["project_joined"] == joined.headers["x-request-id"]
    assert ids["stopped"] is None


@pytest.mark.parametrize("form", ["text", "json"])
async def test_nothing_that_users_send_is_written(start_server: StartServer, form: str) -> None:
    """Neither the app's data, nor tokens, cookies and session ids, valid or not, in any log."""
    server = start_server(
        LOG_FORMAT=form, LOG_LEVEL="debug", METRICS_TOKEN=METRICS_TOKEN, LIMIT_OTHER_RATE="5", LIMIT_EDIT_RATE="5"
    )
    sids = []
    for kind in (RawWebSocket, RawPolling):
        carrier = await kind.open(server)
        alice = RawClient(carrier)
        await alice.sign_in(ALICE)
        await alice.join(PROJECT)
        for row in ROWS:
            await alice.emit(row.event, {"projectId": PROJECT, **{name: {"text": PRIVATE} for name in row.sent}})
        for packet in (
            f'42["join-project",{{"id":"{PRIVATE}"}}]',
            f'42["task:create","{PRIVATE}"]',
            f'42["task:create",{{"projectId":{{"x":"{PRIVATE}"}}}}]',
            f'42["auth:refresh",{{"token":"{PRIVATE}"}}]',
            f'4217["ping","{PRIVATE}"]',
            f'4399["{PRIVATE}"]',
            *[f'42["typing:start",{{"projectId":"{PROJECT}","context":"{PRIVATE}"}}]'] * 3,
            f'42["broken","{PRIVATE}"',
        ):
            await carrier.send(packet)
        await carrier.close()
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        headers = {"Cookie": f"next-auth.session-token={COOKIE}; more={COOKIE}", "Authorization": f"Bearer {PRIVATE}"}
        for origin in ("http://localhost:3000", "https://evil.example"):
            url = "/socket.io/?EIO=4&transport=polling"
            opened = await http.get(url, headers={**headers, "Origin": origin})
            if opened.status_code == 200:
                sids.append(json.loads(opened.text[1:])["sid"])
                auth = json.dumps({"token": PRIVATE})
                await http.post(f"{url}&sid={sids[-1]}", content=f"40{auth}", headers=headers)
        assert (await http.get("/metrics", headers=headers)).status_code == 401
        told = await http.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
        assert told.status_code == 200
        await http.get(f"/{PRIVATE}?token={PRIVATE}", headers=headers)
    assert await asyncio.to_thread(server.stop) == 0
    assert "refused" in server.output
    for text in (PRIVATE, COOKIE, METRICS_TOKEN, *sids):
        assert text not in server.output
        assert text not in told.text
