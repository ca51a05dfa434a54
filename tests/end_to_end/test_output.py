"""The output of the server's process: the banner, log lines, and never a secret."""

import asyncio
import re

from tests.end_to_end.raw import RawClient, RawWebSocket
from tests.end_to_end.relays import ROWS
from tests.support.real_clients import Connect, Refused, join
from tests.support.server_process import ServerProcess, StartServer
from tests.support.users import ALICE, BOB, PROJECT, SECRET, User, issue, npm_tokens


async def expect_line(server: ServerProcess, pattern: str) -> None:
    """Wait for a line of output that this pattern matches completely."""
    fits = re.compile(pattern).fullmatch
    await asyncio.to_thread(server.line, lambda line: fits(line) is not None)


async def test_a_variable_that_looks_like_a_setting_is_a_warning(start_server: StartServer) -> None:
    """The line names the variable, its source, and the similar setting."""
    server = start_server(REDIS_URI="redis://127.0.0.1:9")
    await expect_line(server, "! REDIS_URI, from the environment, .*REDIS_URL.*")


async def test_the_log_has_a_line_for_each_action_of_a_user(start_server: StartServer, connect_by: Connect) -> None:
    """Connects, joins, and disconnects with their reasons, and at level debug each edit. No cursors or canvases."""
    server = start_server(LOG_LEVEL="debug")
    alice, bob = await connect_by(ALICE, url=server.url), await connect_by(BOB, url=server.url)
    await expect_line(server, f"✓ Client connected: {re.escape(alice.id)} \\(User: Alice\\)")
    await join(alice)
    await expect_line(server, f"✓ Alice joined project {PROJECT}")
    await join(bob, alice)
    for row in ROWS:
        await alice.emit(row.event, {"projectId": PROJECT, **row.sent})
        await bob.next()
    await expect_line(server, f"→ Task created in {PROJECT} by Alice")
    for _ in range(50):
        for event in ("canvas:cursor", "canvas:update", "markdown:cursor", "spreadsheet:selection"):
            await alice.emit(event, {"projectId": PROJECT})
            await bob.next()
    await alice.close()
    await expect_line(server, f"✗ Client disconnected: {re.escape(alice.id)} \\(Alice\\) - client namespace disconnect")
    assert len(server.stdout) < 30, server.output


async def test_a_disconnect_is_logged_with_its_reason(start_server: StartServer) -> None:
    server = start_server(WS_PING_INTERVAL="0.5", WS_PING_TIMEOUT="0.5", SHUTDOWN_TIMEOUT="1")

    async def sign_in(name: str) -> RawWebSocket:
        carrier = await RawWebSocket.open(server)
        await RawClient(carrier).sign_in(User(name, name))
        return carrier

    ends = {
        "closing": ("transport close", b"\x88\x82\x00\x00\x00\x00\x03\xe8"),
        "leaving": ("client namespace disconnect", b"\x81\x82\x00\x00\x00\x0041"),
        "ending": ("transport close", b"\x81\x81\x00\x00\x00\x001"),
        "babbling": ("parse error", b"\x81\x84\x00\x00\x00\x0042[{"),
        "flooding": ("transport error", b"\x81\xff" + (10**9).to_bytes(8) + bytes(4)),
        "sleeping": ("ping timeout", b""),
    }
    carriers = []
    for name, (_, sent) in ends.items():
        carriers.append(await sign_in(name))
        await carriers[-1].send_bytes(sent)
    cut = await sign_in("cutting")
    cut.connection.abort()
    for name, (reason, _) in ends.items():
        await expect_line(server, f"✗ Client disconnected: [\\w-]{{20}} \\({name}\\) - {reason}")
    await expect_line(server, r"✗ Client disconnected: [\w-]{20} \(cutting\) - transport (close|error)")
    carriers.append(await sign_in("staying"))
    assert await asyncio.to_thread(server.stop) == 0
    await expect_line(server, r"✗ Client disconnected: [\w-]{20} \(staying\) - server shutting down")
    for carrier in [*carriers, cut]:
        await carrier.close()


async def test_no_secret_is_ever_written(start_server: StartServer, connect_by: Connect) -> None:
    """The most detailed log contains no token, valid or not, from any source."""
    previous = "the-secret-of-last-year-8c0d3f"
    server = start_server(LOG_LEVEL="debug", NEXTAUTH_SECRET_PREVIOUS=previous)
    claims = {"claims": ALICE.claims}
    salt = {"salt": "authjs.session-token"}
    good = npm_tokens(
        [{"by": "nextauth", **claims}, {"by": "authjs", **claims, **salt}, {"by": "jsonwebtoken", **claims}]
    )
    bad = [
        issue(ALICE.claims, expires_in=-3600),
        issue(ALICE.claims, secret="another"),
        issue({"name": "Nobody"}),
        good[0][:-3] + "AAA",
        "no-token-at-all-77d1",
    ]
    for token in [*good, *bad]:
        headers = {"Cookie": f"next-auth.session-token={token}; other=cookie-9f2e", "Origin": "http://localhost:3000"}
        for auth, more in ({"token": token}, {}), (None, headers), (None, {"Authorization": f"Bearer {token}"}):
            try:
                client = await connect_by(ALICE, url=server.url, auth=auth, headers=more)
            except Refused:
                continue
            await join(client, project="p1")
            await client.emit("no such event", {"token": token})
            await client.expect("error")
            await client.close()
    server.line(lambda line: "refused" in line)
    assert await asyncio.to_thread(server.stop) == 0
    for text in (SECRET, previous, "cookie-9f2e", *good, *bad, *(token[-16:] for token in good)):
        assert text not in server.output
