"""The members of a project, as events for its members, over every transport."""

from typing import Any

from tests.support.real_clients import Client, Connect, join, join_one_and_two
from tests.support.users import ALICE, BOB, CAROL, PROJECT, TIME, User


def listed(user: User) -> dict[str, Any]:
    """A user in `users:active`, without the time."""
    entry = {"userId": user.id, "userName": user.name}
    return entry if user.image is None else {**entry, "userImage": user.image}


def announced(user: User, client: Client) -> dict[str, Any]:
    """A user in `user:joined`, without the times."""
    return {"socketId": client.id, **listed(user)}


def parted(user: User, client: Client) -> dict[str, Any]:
    """A user in `user:left`, without the time."""
    return {"socketId": client.id, "userId": user.id, "userName": user.name}


async def expect_timed(client: Client, event: str) -> dict[str, Any]:
    """The next event, which must be this one. Its time is checked and removed."""
    payload: dict[str, Any] = await client.expect(event)
    time = payload.pop("timestamp")
    assert TIME.fullmatch(time)
    if event == "user:joined":
        assert payload.pop("joinedAt") == time
    return payload


async def expect_active(client: Client, *users: User) -> dict[str, str]:
    """Check that `users:active` comes next and lists `users`, each once. Returns their join times."""
    active = await client.expect("users:active")
    assert sorted(active) == ["count", "users"]
    assert active["count"] == len(users)
    since = {user["userId"]: user.pop("joinedAt") for user in active["users"]}
    assert all(map(TIME.fullmatch, since.values()))
    assert sorted(active["users"], key=lambda user: str(user["userId"])) == [
        listed(user) for user in sorted(users, key=lambda user: user.id)
    ]
    return since


async def expect_count(client: Client, count: int) -> None:
    """Check that `users:count` comes next."""
    assert await client.expect("users:count") == {"count": count}


async def test_a_join_is_sent_in_order(connect: Connect) -> None:
    """The joiner gets the list, then the count. The others get the join, then the count. Without a picture there is no
    `userImage`.
    """
    alice, bob = await connect(ALICE), await connect(BOB)
    await alice.emit("join-project", PROJECT)
    await expect_active(alice, ALICE)
    await expect_count(alice, 1)

    await bob.emit("join-project", PROJECT)
    await expect_active(bob, ALICE, BOB)
    await expect_count(bob, 2)
    assert await expect_timed(alice, "user:joined") == announced(BOB, bob)
    await expect_count(alice, 2)

    carol = await connect(CAROL)
    await carol.emit("join-project", PROJECT)
    await expect_active(carol, ALICE, BOB, CAROL)
    await expect_count(carol, 3)
    for client in (alice, bob):
        assert await expect_timed(client, "user:joined") == announced(CAROL, carol)
        await expect_count(client, 3)
        await client.hears_nothing()


async def test_a_disconnect_leaves_every_project(connect: Connect) -> None:
    alice, bob, carol = await join_one_and_two(connect)
    await alice.close()
    for client, user in ((bob, BOB), (carol, CAROL)):
        assert await expect_timed(client, "user:left") == parted(ALICE, alice)
        await expect_active(client, user)
        await expect_count(client, 1)
        await client.hears_nothing()


async def test_two_tabs_are_one_user(connect: Connect) -> None:
    """A user is listed and counted once, since their first join. The others get each connection's join."""
    bob, first, second = await connect(BOB), await connect(ALICE), await connect(ALICE)
    await join(bob)
    await first.emit("join-project", PROJECT)
    since = await expect_active(first, ALICE, BOB)
    await expect_count(first, 2)
    assert await expect_timed(bob, "user:joined") == announced(ALICE, first)
    await expect_count(bob, 2)

    await second.emit("join-project", PROJECT)
    assert await expect_active(second, ALICE, BOB) == since
    await expect_count(second, 2)
    for client in (bob, first):
        assert await expect_timed(client, "user:joined") == announced(ALICE, second)
        await expect_count(client, 2)

    await second.close()
    for client in (bob, first):
        assert await expect_timed(client, "user:left") == parted(ALICE, second)
        assert await expect_active(client, ALICE, BOB) == since
        await expect_count(client, 2)

    await first.emit("leave-project", PROJECT)
    assert await expect_timed(bob, "user:left") == parted(ALICE, first)
    await expect_active(bob, BOB)
    await expect_count(bob, 1)


async def test_names_are_shown_as_they_are(connect: Connect) -> None:
    """The server escapes nothing. A user without a name is Anonymous."""
    odd = User("<b>42</b>", 'Zoë "🚀" <script>\u2028', "https://example.com/zoë.png?<b>&amp;")
    zoe, nobody = await connect(odd), await connect(User("user-x", ""))
    await join(zoe)
    await join(nobody)
    assert await expect_timed(zoe, "user:joined") == {
        "socketId": nobody.id,
        "userId": "user-x",
        "userName": "Anonymous",
    }
    await expect_count(zoe, 2)
    await zoe.emit("join-project", PROJECT)
    await expect_active(zoe, odd, User("user-x", "Anonymous"))
