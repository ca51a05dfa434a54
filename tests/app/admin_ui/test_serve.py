"""Who may connect to the admin namespace, and what admins can do."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.app.admin_ui.admins import TOKEN, AdminSite, admin, admin_site, visitor
from tests.collaboration.site import token_of
from tests.support.clients import Polling, socketio
from tests.support.logs import capture_logs
from tests.support.servers import until

from synkora.app.token_guard import MOST_FAILURES
from synkora.engine.incidents import IncidentKind


@pytest_asyncio.fixture
async def site() -> AsyncIterator[AdminSite]:
    async with admin_site() as site:
        yield site


async def test_the_token_is_the_password_of_any_user_name(site: AdminSite) -> None:
    for username in ("ann", "", None):
        async with visitor(site.address) as someone:
            assert "sid" in await someone.sign_in(username=username, password=TOKEN)
            (session,) = await someone.told("session")
            assert TOKEN not in session


async def test_a_session_needs_no_password(site: AdminSite) -> None:
    async with admin(site.address) as someone:
        (session,) = await someone.told("session")
    async with visitor(site.address) as again:
        assert "sid" in await again.sign_in(sessionId=session)
        assert (await again.event())[0] == "config"


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"username": "ann"},
        {"username": "ann", "password": "the-token-of-this-console"},
        {"username": TOKEN, "password": ""},
        {"password": [TOKEN]},
        {"sessionId": None},
        {"sessionId": TOKEN},
        {"sessionId": 7, "password": None},
        {"token": token_of("Alice")},
    ],
)
async def test_other_clients_are_refused(site: AdminSite, auth: dict[str, object]) -> None:
    """A user's token is not accepted. The UI shows its form for this message."""
    async with visitor(site.address) as someone:
        assert await someone.sign_in(**auth) == {"message": "invalid credentials"}
        await someone.emit("_disconnect", "/", True, "p")
        assert await someone.client.closed() is not None  # events for other namespaces break the protocol
    assert site.server.incidents.totals[IncidentKind.CONSOLE_SIGN_IN_REFUSED] == 1


async def test_the_password_gives_access_only_to_the_admin_namespace(site: AdminSite) -> None:
    async with admin(site.address) as someone:
        await someone.told("server_stats")
        await someone.client.send('40{"password":"' + TOKEN + '"}')
        while (answer := str(await someone.client.receive())).startswith("42/admin,"):
            pass
        assert answer == '44{"message":"Authentication required"}'


async def test_after_too_many_wrong_passwords_the_right_one_has_to_wait(site: AdminSite) -> None:
    """Only failed passwords of the address count. Admins with a session and users of the app are not affected."""
    async with admin(site.address) as someone, visitor(site.address) as guesser:
        (session,) = await someone.told("session")
        for _ in range(MOST_FAILURES):
            assert await guesser.sign_in(password="guess") == {"message": "invalid credentials"}
        assert "wait a minute" in (await guesser.sign_in(password=TOKEN))["message"]
        async with visitor(site.address) as again:
            assert "sid" in await again.sign_in(sessionId=session)
        await someone.told("server_stats")
        async with socketio(site.address, {"token": token_of("Alice")}) as alice:
            assert (await alice.event())[0] == "connected"
    assert site.server.incidents.totals[IncidentKind.CONSOLE_SIGN_IN_REFUSED] == MOST_FAILURES + 1


async def test_further_guesses_are_disconnected(site: AdminSite) -> None:
    """Each further guess costs a connection, with a message. The operator's own connection is not affected."""
    async with admin(site.address) as someone, visitor(site.address) as guesser:
        for _ in range(MOST_FAILURES):
            await guesser.sign_in(password="guess")
        for _ in range(3):
            async with visitor(site.address) as again:
                assert "wait a minute" in (await again.sign_in(password="guess"))["message"]
                assert await again.client.closed() is not None
        await guesser.client.send('40/admin,{"password":"guess"}')
        assert "wait a minute" in str(await guesser.client.receive())
        assert await guesser.client.closed() is not None
        await someone.told("server_stats")


async def test_simultaneous_guesses_are_limited(site: AdminSite) -> None:
    """In one request with many guesses, those above the limit are dropped, and the connection is closed."""
    async with Polling(site.address) as guesser:
        guess = '40/admin,{"password":"guess"}'
        await guesser.post(*[guess] * 1000)
        answers = [packet for packet in await guesser.poll() if packet.startswith("44/admin,")]
        assert len(answers) == MOST_FAILURES + 1
        assert "wait a minute" in answers[-1]
    assert site.server.incidents.totals[IncidentKind.CONSOLE_SIGN_IN_REFUSED] == MOST_FAILURES + 1


async def test_no_password_is_logged(site: AdminSite) -> None:
    with capture_logs() as logged:
        async with visitor(site.address) as someone:
            await someone.sign_in(username="ann", password="the-wrong-password")
            await someone.sign_in(username="ann", password=TOKEN)
            (session,) = await someone.told("session")
    assert [entry["event"] for entry in logged] == ["incident", "admin_ui_connected"]
    assert logged[0]["address"] == "127.0.0.1"
    for secret in (TOKEN, session, "the-wrong-password"):
        assert secret not in str(logged) + str(site.server.incidents.take())


async def test_a_socket_is_disconnected(site: AdminSite) -> None:
    """Only this socket. Its connection ends only on request."""
    async with (
        socketio(site.address, {"token": token_of("Alice")}) as alice,
        socketio(site.address, {"token": token_of("Bob")}) as bob,
        admin(site.address) as someone,
    ):
        ids = {client: (await client.event())[1]["socketId"] for client in (alice, bob)}
        await someone.emit("_disconnect", "/", False, ids[alice])
        assert await alice.receive() == "41"
        await alice.connect(auth={"token": token_of("Alice")})
        await someone.emit("_disconnect", "/", True, ids[bob])
        await bob.closed()
        assert site.collaboration.connections == 1


async def test_all_in_a_room_are_disconnected(site: AdminSite) -> None:
    alice, bob, carol = await site.meet("Alice", "Bob", "Carol")
    for client in (alice, bob):
        client.emit("join-project", "p")
    with capture_logs() as logged:
        async with admin(site.address) as someone:
            await someone.emit("_disconnect", "/", False, "p")
            await until(lambda: site.collaboration.connections == 1)
    assert carol.id in site.collaboration.members
    (entry,) = [entry for entry in logged if entry["event"] == "admin_ui_disconnected"]
    assert (entry["room"], entry["namespace"], entry["address"]) == ("p", "/", "127.0.0.1")
    assert entry["log_level"] == "warning"


@pytest.mark.parametrize(
    "arguments", [(), ("/",), ("/", True), ("/", True, ""), ("/", True, None), ("/none", True, "p"), ({}, 1, [])]
)
async def test_an_invalid_request_disconnects_no_socket(site: AdminSite, arguments: tuple[object, ...]) -> None:
    await site.meet("Alice", project="p")
    async with admin(site.address) as someone:
        await someone.emit("_disconnect", *arguments)
        (error,) = await someone.told("error")
        assert error["event"] == "_disconnect"
    assert site.collaboration.connections == 1


@pytest.mark.parametrize("command", ["join", "leave", "emit"])
async def test_admins_cannot_change_the_members_of_a_project(site: AdminSite, command: str) -> None:
    """Commands for joins, leaves and events of projects are refused."""
    (alice,) = await site.meet("Alice", project="p")
    async with admin(site.address) as someone:
        await someone.emit(command, "/", "p", alice.id)
        (error,) = await someone.told("error")
        assert error == {"message": f"Unknown event: {command}", "event": command}
    assert site.collaboration.members[alice.id].socket.rooms == {alice.id, "p"}
    assert alice.take() == []


async def test_clients_do_not_get_the_admins_events(site: AdminSite) -> None:
    async with socketio(site.address, {"token": token_of("Alice")}) as alice, admin(site.address) as someone:
        await alice.event()
        for _ in range(3):
            await someone.told("server_stats")
        await alice.emit("ping")
        assert (await alice.event())[0] == "pong"
