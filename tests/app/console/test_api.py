"""The console over HTTP: answers and refusals."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.app.console.desk import SECRET, TOKEN, Desk
from tests.collaboration.site import MemoryClient, Site, turn

from synkora import __version__
from synkora.app.console import tables
from synkora.app.console.actions import MAX_BODY
from synkora.app.console.api import COMPRESSED_FROM
from synkora.app.console.concurrency_limit import MOST_RUNNING, MOST_WAITING
from synkora.app.console.parameters import MAX_NOTICE
from synkora.app.console.rpc_messages import REACH, ConnectionsSought
from synkora.app.settings import Settings

QUESTIONS = ("overview", "connections", "projects", "project", "log", "settings", "blocks")
ACTIONS = ("disconnect", "block", "unblock", "notice")


async def test_the_page(desk: Desk) -> None:
    """The page needs no token, loads nothing from other hosts, and is in no frame. The data needs the token."""
    answer = await desk.send("GET", "", headers={"authorization": ""})
    assert (answer.status_code, answer.text) == (200, "<!doctype html><title>Console</title>")
    policy = answer.headers["content-security-policy"].split("; ")
    assert policy[0] == "default-src 'self'"
    assert "frame-ancestors 'none'" in policy
    assert (await desk.send("GET", "/assets/main-1a2b.js")).text == "start();"
    answer = await desk.send("GET", "/")
    assert (answer.status_code, answer.headers["location"]) == (308, "/console")


async def test_a_page_that_has_not_been_built(tmp_path: Path) -> None:
    """The response says how to build it. The API works without it."""
    desk = Desk(tmp_path / "nowhere")
    answer = await desk.send("GET", "")
    assert answer.status_code == 503
    assert "make web" in answer.text
    assert (await desk.ask("connections"))["total"] == 0


@pytest.mark.parametrize("path", [*QUESTIONS, *ACTIONS])
async def test_without_the_token_there_is_no_access(desk: Desk, path: str) -> None:
    method = "POST" if path in ACTIONS else "GET"
    status, words = await desk.refusal(method, path, headers={"authorization": ""}, json={})
    assert status == 401
    assert "CONSOLE_TOKEN" in words


def test_where_there_is_a_console() -> None:
    """Always in development, in production only with a token."""
    tokens: tuple[dict[str, Any], ...] = ({}, {"CONSOLE_TOKEN": TOKEN})
    found = [
        Settings(**{"NEXTAUTH_SECRET": SECRET, "SYNKORA_ENV": environment, **token}, _env_file=None).has_console
        for environment in ("development", "production")
        for token in tokens
    ]
    assert found == [True, True, False, True]


async def test_the_overview(desk: Desk) -> None:
    """The instances, their states and their samples."""
    desk.console.listens_on(3001)
    overview = await desk.ask("overview")
    assert (overview["interval"], overview["keeps"]) == (2, 900)
    (instance,) = overview["instances"]
    assert ":3001 " in instance["name"]
    assert (instance["version"], instance["isThis"], instance["unanswered"]) == (__version__, True, False)
    assert (instance["status"], instance["reason"]) == ("healthy", None)
    (sample,) = instance["samples"]
    assert instance["startedAt"] <= sample["at"]
    later = await desk.ask("overview", after=f"{instance['id']}:{sample['at']!r},other:12")
    assert later["instances"][0]["samples"] == []
    desk.site.server._registry.is_closing = True
    (instance,) = (await desk.ask("overview"))["instances"]
    assert (instance["status"], instance["reason"]) == ("shutting down", None)


async def test_a_long_answer_is_compressed(desk: Desk) -> None:
    """If the client accepts gzip. Short answers and refusals are not compressed."""
    await desk.site.meet(*(f"User {number}" for number in range(30)))
    identity, gzip = ({"accept-encoding": encoding} for encoding in ("identity", "gzip"))
    plain = await desk.send("GET", "/api/connections", headers=identity)
    assert len(plain.content) > COMPRESSED_FROM
    assert "content-encoding" not in plain.headers
    answer = await desk.send("GET", "/api/connections", headers=gzip)
    assert answer.json() == plain.json()
    assert int(answer.headers["content-length"]) < len(plain.content) / 4
    assert answer.headers["content-encoding"] == "gzip"
    for name in ("content-type", "cache-control", "vary", "x-content-type-options"):
        assert answer.headers[name] == plain.headers[name]
    for path, status in {"projects": 200, "log?level=x": 422}.items():
        answer = await desk.send("GET", f"/api/{path}", headers=gzip)
        assert (answer.status_code, "content-encoding" in answer.headers) == (status, False)


async def test_the_table_of_connections(desk: Desk) -> None:
    await desk.site.meet(*(f"User {number}" for number in range(5)))
    table = await desk.ask("connections", search="user", sort="user", order="desc", offset=1, limit=2)
    assert [row["userName"] for row in table.pop("rows")] == ["User 3", "User 2"]
    assert table == {"total": 5, "matched": 5, "reachable": 5, "unanswered": []}
    table = await desk.ask("connections", search="user 4")
    assert (table["total"], table["matched"]) == (5, 1)
    (instance,) = (await desk.ask("overview"))["instances"]
    assert table["rows"][0]["instance"] == instance["id"]
    assert len((await desk.ask("connections", instance=instance["id"]))["rows"]) == 5
    assert (await desk.ask("connections", instance="other")) == {
        "total": 0,
        "matched": 0,
        "reachable": 0,
        "rows": [],
        "unanswered": ["other"],
    }


class Slowly:
    """Makes tables of connections one turn later; `most` is the highest number of simultaneous tables."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._make = tables.connections

    async def __call__(self, *given: Any) -> Any:
        self._now += 1
        self.most = max(self.most, self._now)
        await turn()
        self._now -= 1
        return await self._make(*given)


async def test_too_many_tables_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few run at a time, a limited number waits, and further ones are refused with a message."""
    monkeypatch.setattr(tables, "connections", slowly := Slowly())
    asked = MOST_RUNNING + MOST_WAITING + 3
    answers = await asyncio.gather(*(desk.send("GET", "/api/connections") for _ in range(asked)))
    assert slowly.most == MOST_RUNNING
    assert [answer.status_code for answer in answers].count(200) == MOST_RUNNING + MOST_WAITING
    refusals = [answer for answer in answers if answer.status_code == 503]
    assert len(refusals) == 3
    assert "Too many tables" in refusals[0].json()["message"]
    assert refusals[0].headers["retry-after"] == "1"
    assert (await desk.ask("connections"))["total"] == 0


async def test_tables_for_others_are_made_few_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "connections", slowly := Slowly())
    sought = ConnectionsSought("", "", "", "since", is_descending=False, most=10)
    await asyncio.gather(*(desk.console._answers._connections(sought) for _ in range(MOST_RUNNING + 3)))
    assert slowly.most == MOST_RUNNING


async def test_the_table_of_projects(desk: Desk) -> None:
    await desk.site.meet("Alice", "Bob", project="p1")
    await desk.site.meet("Carol", project="p2")
    table = await desk.ask("projects", sort="users", order="desc")
    (instance,) = (await desk.ask("overview"))["instances"]
    assert table["rows"] == [
        {"projectId": "p1", "users": 2, "connections": 2, "instances": [instance["id"]]},
        {"projectId": "p2", "users": 1, "connections": 1, "instances": [instance["id"]]},
    ]


async def test_a_project(desk: Desk) -> None:
    """Each user appears once, with the sums of their connections and events. Other projects do not appear."""
    alice, _, _ = await desk.site.meet("Alice", "Alice", "Bob", project="p1")
    await desk.site.meet("Carol", project="p2")
    for _ in range(3):
        alice.emit("ping")
    await turn()
    project = await desk.ask("project", projectId="p1")
    assert project.pop("at") > 0
    assert project == {
        "total": 2,
        "connections": 3,
        "received": 6,
        "kept": None,
        "users": [
            {"userId": "alice", "userName": "Alice", "connections": 2, "received": 5},
            {"userId": "bob", "userName": "Bob", "connections": 1, "received": 1},
        ],
        "unanswered": [],
    }
    assert (await desk.ask("project", projectId="p3"))["users"] == []
    status, words = await desk.refusal("GET", "project", params={"projectId": ""})
    assert (status, "projectId" in words) == (422, True)


async def test_what_is_kept_of_a_project(tmp_path: Path) -> None:
    """With recovery: the number and the bytes of events. A cursor is not kept."""
    desk = Desk(tmp_path, Site(recovery=True))
    (alice,) = await desk.site.meet("Alice", project="p1")
    alice.emit("task:create", {"projectId": "p1", "task": {"id": "1"}})
    await alice.act("canvas:cursor", {"projectId": "p1", "position": 1})
    assert (await desk.ask("project", projectId="p1"))["kept"] == {
        "events": 1,
        "bytes": len('["task:create",{"id": "1"}]'),
    }
    assert (await desk.ask("project", projectId="p2"))["kept"] == {"events": 0, "bytes": 0}


@pytest.mark.parametrize(
    ("path", "parameters", "named"),
    [
        ("connections", {"sort": "socketId"}, "sort"),
        ("connections", {"order": "up"}, "order"),
        ("connections", {"transport": "pigeon"}, "transport"),
        ("connections", {"limit": "0"}, "limit"),
        ("connections", {"limit": "many"}, "limit"),
        ("connections", {"offset": "-1"}, "offset"),
        ("connections", {"offset": str(REACH), "limit": "1"}, str(REACH)),
        ("connections", {"search": "x" * 201}, "search"),
        ("projects", {"sort": "since"}, "sort"),
        ("projects", {"offset": "1", "limit": str(REACH)}, str(REACH)),
        ("log", {"level": "loud"}, "level"),
        ("log", {"after": "x"}, "after"),
        ("log", {"after": "a:1,,"}, "after"),
        ("log", {"after": "a:\u0661"}, "after"),  # a digit, but not in JSON
        ("overview", {"after": "a:1:2"}, "after"),
        ("overview", {"after": "a:inf"}, "after"),
    ],
)
async def test_invalid_queries_are_refused(desk: Desk, path: str, parameters: dict[str, str], named: str) -> None:
    status, words = await desk.refusal("GET", path, params=parameters)
    assert status == 422
    assert named in words


async def test_the_log(desk: Desk) -> None:
    """Entries after the cursor, and the next cursor, optionally of one level and instance."""
    log = structlog.get_logger()
    log.info("project_joined", userName="Alice", projectId="p1")
    page = await desk.ask("log")
    (instance,) = (await desk.ask("overview"))["instances"]
    (entry,) = page["entries"]
    assert entry.pop("at") > 0
    assert entry == {
        "instance": instance["id"],
        "level": "info",
        "event": "project_joined",
        "text": "✓ Alice joined project p1",
    }
    assert (await desk.ask("log", after=page["cursor"])) == {"cursor": page["cursor"], "entries": []}
    log.warning("odd")
    log.error("broken")
    assert [entry["event"] for entry in (await desk.ask("log", after=page["cursor"]))["entries"]] == ["odd", "broken"]
    assert [entry["event"] for entry in (await desk.ask("log", level="error"))["entries"]] == ["broken"]
    assert (await desk.ask("log", instance="other"))["entries"] == []


async def test_a_cursor_of_an_ended_server(desk: Desk) -> None:
    """A restarted server has another id: all of its entries are new, and the old cursor is ignored."""
    structlog.get_logger().info("first")
    page = await desk.ask("log", after="gone:17")
    assert [entry["event"] for entry in page["entries"]] == ["first"]
    assert "gone" not in page["cursor"]


async def test_the_settings(desk: Desk) -> None:
    answer = await desk.send("GET", "/api/settings")
    settings = {row["variable"]: row for row in answer.json()["settings"]}
    assert settings["CONSOLE_TOKEN"]["value"] == settings["NEXTAUTH_SECRET"]["value"] == "set"
    assert settings["WS_PORT"]["isDefault"] is True
    assert SECRET not in answer.text
    assert TOKEN not in answer.text


async def test_a_client_is_disconnected(desk: Desk) -> None:
    """The client gets Socket.IO's DISCONNECT and its connection ends. The log names the operator and the socket."""
    alice, bob = await desk.site.meet("Alice", "Bob")
    assert await desk.act("disconnect", socketId=alice.id) == {"disconnected": True, "unanswered": []}
    await turn()
    assert alice.transport.packets[-1] == b"41"
    assert alice.transport.closed_with is not None
    assert bob.transport.closed_with is None
    assert desk.site.collaboration.connections == 1
    assert await desk.act("disconnect", socketId=alice.id) == {"disconnected": False, "unanswered": []}
    entries = (await desk.ask("log"))["entries"]
    lines = [(entry["level"], entry["text"]) for entry in entries]
    assert lines.count(("warning", f"✗ Disconnected from the console: {alice.id}, by 192.0.2.1")) == 1


def notices(client: MemoryClient) -> list[Any]:
    return [payload for event, *payload in client.take_events() if event == "server:notice"]


async def test_a_notice(desk: Desk) -> None:
    alice, alice_too, bob = await desk.site.meet("Alice", "Alice", "Bob", project="p1")
    (carol,) = await desk.site.meet("Carol", project="p2")
    assert await desk.act("notice", projectId="p1", message="  At noon \u2713 ") == {"recipients": 3, "unanswered": []}
    await turn()
    for client in (alice, alice_too, bob):
        ((notice,),) = notices(client)
        assert notice["message"] == "At noon \u2713"
        assert notice["timestamp"].endswith("Z")
    assert notices(carol) == []
    log = json.dumps(await desk.ask("log"), ensure_ascii=False)
    assert "→ Notice from the console to project p1, by 192.0.2.1" in log
    assert "At noon" not in log
    assert await desk.act("notice", projectId="p3", message="x") == {"recipients": 0, "unanswered": []}


async def test_a_notice_is_for_a_project(desk: Desk) -> None:
    """A socket's id would reach only one client, and the log would call it a project."""
    (alice,) = await desk.site.meet("Alice", project="p1")
    status, words = await desk.refusal("POST", "notice", json={"projectId": alice.id, "message": "x"})
    assert status == 422
    assert "socket" in words
    await turn()
    assert notices(alice) == []


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("notice", {"projectId": "p1"}, "message"),
        ("notice", {"projectId": "p1", "message": ""}, "message"),
        ("notice", {"projectId": "p1", "message": " \n "}, "message"),
        ("notice", {"projectId": "p1", "message": "x" * (MAX_NOTICE + 1)}, "message"),
        ("notice", {"projectId": "p1", "message": 5}, "message"),
        ("notice", {"projectId": "", "message": "x"}, "projectId"),
        ("disconnect", {}, "socketId"),
        ("disconnect", {"socketId": ["a"]}, "socketId"),
        ("disconnect", [], "object"),
    ],
)
async def test_invalid_actions_are_refused(desk: Desk, path: str, body: Any, named: str) -> None:
    (alice,) = await desk.site.meet("Alice", project="p1")
    status, words = await desk.refusal("POST", path, json=body)
    assert status == 422
    assert named in words
    assert notices(alice) == []


async def test_bodies_are_json_and_small(desk: Desk) -> None:
    """A form, which a page of another site could send, is refused. So is a large body."""
    body = json.dumps({"socketId": "x"})
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"):
        assert (await desk.refusal("POST", "disconnect", content=body, headers={"content-type": kind}))[0] == 415
    kind = "application/json"
    large = {"content": " " * (MAX_BODY + 1), "headers": {"content-type": kind}}
    assert (await desk.refusal("POST", "disconnect", **large))[0] == 413
    assert (await desk.refusal("POST", "disconnect", content=b"{", headers={"content-type": kind}))[0] == 422
    answer = await desk.send(
        "POST", "/api/disconnect", content=body, headers={"content-type": f"{kind}; charset=utf-8"}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/overview"), ("GET", "/api/notice"), ("GET", "/api/other"), ("GET", "/api"), ("PUT", "")],
)
async def test_other_paths_are_not_found(desk: Desk, method: str, path: str) -> None:
    assert (await desk.send(method, path)).status_code == 404
