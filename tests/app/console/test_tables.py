"""One instance's part of the tables."""

from typing import Any

import msgspec
import pytest
from tests.collaboration.site import Site, turn

from synkora.app.console import tables
from synkora.app.console.rpc_messages import ConnectionsSought, ProjectsSought, Rows

HEAD = 2  # bytes of a small WebSocket frame's head (RFC 6455 section 5.2)


def connections_sought(**given: Any) -> ConnectionsSought:
    asked = {"search": "", "project": "", "transport": "", "sort": "since", "is_descending": False, "most": 100}
    return ConnectionsSought(**{**asked, **given})


def shown(rows: Rows[Any]) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(row.shown) for row in rows.rows]


async def names(site: Site, **given: Any) -> list[str]:
    rows = await tables.connections(site.collaboration, "i", connections_sought(**given))
    assert rows.matched == len(rows.rows)
    return [row["userName"] for row in shown(rows)]


async def site_of(*names: str) -> Site:
    """A site with these users, each in a project named by the first letter of the user's name."""
    site = Site()
    for name in names:
        client = site.come(name)
        await client.act("join-project", f"project-{name[0].lower()}")
    return site


async def test_a_row_tells_of_a_connection() -> None:
    """User, address, transport, start, projects, backlog and number of events."""
    site = Site()
    alice = site.come("Alice")
    for project in ("p1", "p2"):
        alice.emit("join-project", project)
    await turn()
    alice.transport.writable = False
    await alice.act("ping")
    (row,) = shown(await tables.connections(site.collaboration, "i", connections_sought()))
    assert row.pop("since") == pytest.approx(site.server.of("/").sockets[alice.id].issued, abs=5)
    assert row.pop("waiting") == HEAD + len(b'42["pong",{"timestamp":"2026-01-02T03:04:05.678Z"}]')
    assert row == {
        "socketId": alice.id,
        "instance": "i",
        "userId": "alice",
        "userName": "Alice",
        "transport": "websocket",
        "address": "192.0.2.1",
        "projects": ["p1", "p2"],
        "projectCount": 2,
        "received": 3,
    }


async def test_orders() -> None:
    """By time, by name regardless of case, and by the first project, in both directions."""
    site = await site_of("carol", "Bob", "alice", "Äda")
    assert await names(site) == ["carol", "Bob", "alice", "Äda"]
    assert await names(site, is_descending=True) == ["Äda", "alice", "Bob", "carol"]
    assert await names(site, sort="user") == ["alice", "Bob", "carol", "Äda"]
    assert await names(site, sort="project", is_descending=True) == ["Äda", "carol", "Bob", "alice"]
    for sort in tables.CONNECTION_KEYS:
        assert sorted(await names(site, sort=sort)) == ["Bob", "alice", "carol", "Äda"]


async def test_the_slowest_clients_come_first() -> None:
    site = Site()
    clients = await site.meet("Alice", "Bob", "Carol")
    for client, times in zip(clients, (1, 3, 2), strict=True):
        client.transport.writable = False
        for _ in range(times):
            client.emit("ping")
    await turn()
    assert await names(site, sort="waiting", is_descending=True) == ["Bob", "Carol", "Alice"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("ANN-MARI", ["Ann-Marie", "Ann-Marit"]),
        ("ann-marie", ["Ann-Marie"]),
        ("192.0.2", ["Ann-Marie", "Ann-Marit", "Bob"]),
        ("PROJECT-B", ["Bob"]),
        ("zzzzzzzz", []),
        ("e\nann-marie", ["Ann-Marie"]),
    ],
)
async def test_a_search_looks_through_names_ids_addresses_and_projects(search: str, found: list[str]) -> None:
    """A word of two or three letters may stand in a random id."""
    site = await site_of("Ann-Marie", "Ann-Marit", "Bob")
    assert await names(site, search=search) == found


async def test_filters() -> None:
    """One project, one transport, or both with a search. Rows that do not match count only in the total."""
    site = await site_of("Ann-Marie", "Ann-Marit", "Bob")
    assert await names(site, project="project-a") == ["Ann-Marie", "Ann-Marit"]
    assert await names(site, project="project") == []
    assert await names(site, transport="polling") == []
    assert await names(site, transport="websocket", project="project-a", search="n-marit") == ["Ann-Marit"]
    rows = await tables.connections(site.collaboration, "i", connections_sought(search="ann-mari", most=1))
    assert (rows.total, rows.matched, len(rows.rows)) == (3, 2, 1)


async def test_of_many_projects_a_row_has_the_first() -> None:
    """With the number of projects: a table with all of their long ids could be too large to send."""
    site = Site()
    alice = site.come("Alice")
    for number in range(7):
        alice.emit("join-project", f"p{number}")
    await turn()
    (row,) = shown(await tables.connections(site.collaboration, "i", connections_sought(search="P6")))
    assert (row["projects"], row["projectCount"]) == (["p0", "p1", "p2", "p3", "p4"], 7)


async def test_a_socket_is_found_by_its_id() -> None:
    site = Site()
    alice, _ = await site.meet("Alice", "Bob")
    assert await names(site, search=alice.id) == ["Alice"]


async def test_projects() -> None:
    """Each user counts once, however many connections they have."""
    site = Site()
    for name, project in (("Alice", "p1"), ("Alice", "p1"), ("Bob", "p1"), ("Bob", "p2"), ("Carol", "other")):
        client = site.come(name)
        await client.act("join-project", project)

    async def found(**given: Any) -> list[tuple[str, int, int]]:
        asked = {"search": "", "sort": "project", "is_descending": False, "most": 100}
        rows = await tables.projects(site.collaboration.presence, ProjectsSought(**{**asked, **given}))
        assert rows.total == 3
        return [(row["projectId"], row["users"], row["connections"]) for row in shown(rows)]

    assert await found() == [("other", 1, 1), ("p1", 2, 3), ("p2", 1, 1)]
    assert await found(sort="connections", is_descending=True, most=1) == [("p1", 2, 3)]
    assert await found(sort="users") == [("other", 1, 1), ("p2", 1, 1), ("p1", 2, 3)]
    assert await found(search="P") == [("p1", 2, 3), ("p2", 1, 1)]
