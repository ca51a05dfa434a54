"""Operators' actions reach clients."""

import re

import pytest
from tests.end_to_end.console.operators import Watch
from tests.end_to_end.playground.visitors import Visitor
from tests.support.node_process import NodeProcess
from tests.support.real_clients import Connect, Refused, join
from tests.support.server_process import ServerProcess
from tests.support.users import ALICE, BOB, CAROL, PROJECT


async def test_a_user_is_kept_out(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """With all connections, for the chosen time or until an operator lifts the block."""
    alice, again, bob = [await connect_by(user, url=server.url) for user in (ALICE, ALICE, BOB)]
    operator = await watch("Connections")
    await operator.play("""
        await row('Alice').first().getByRole('button', { name: 'Disconnect' }).click();
        await dialog.getByLabel('All connections of Alice').check();
        await dialog.getByLabel('Keep out for').selectOption('1 hour');
        await dialog.getByRole('button', { name: 'Block' }).click();
        await outcome.getByText('2 connections of Alice ended, and blocked for 1 hour.').waitFor();
        await page.locator('.blocks').getByText(/^for 59 min/).waitFor();
        await shows(() => found.textContent(), '1 connection');
    """)
    for client in (alice, again):
        assert await client.changes.next() == ["disconnect", "io server disconnect"]
    with pytest.raises(Refused, match="Blocked by the operators"):
        await connect_by(ALICE, url=server.url)
    await operator.play("""
        await page.getByRole('button', { name: 'Lift the block of user-alice' }).click();
        await outcome.getByText('user-alice is no longer blocked.').waitFor();
        await page.locator('.blocks').waitFor({ state: 'detached' });
    """)
    await connect_by(ALICE, url=server.url)
    await bob.hears_nothing()
    assert operator.console == []


async def test_a_client_is_disconnected(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """After a confirmation: the client gets the operator's name, and its row disappears."""
    alice, bob = [await connect_by(user, url=server.url) for user in (ALICE, BOB)]
    operator = await watch("Connections")
    await operator.play("""
        await row('Alice').getByRole('button', { name: 'Disconnect' }).click();
        await dialog.getByText('Disconnect Alice?').waitFor();
        await dialog.getByRole('button', { name: 'Cancel' }).click();
        await dialog.waitFor({ state: 'detached' });
    """)
    await alice.hears_nothing()
    await operator.play("""
        await row('Alice').getByRole('button', { name: 'Disconnect' }).click();
        await dialog.getByRole('button', { name: 'Disconnect' }).click();
        await outcome.getByText(/^Alice .* has been disconnected/).waitFor();
        await shows(() => found.textContent(), '1 connection');
        await row('Alice').waitFor({ state: 'detached' });
    """)
    assert await alice.changes.next() == ["disconnect", "io server disconnect"]
    await bob.hears_nothing()
    assert operator.console == []


async def test_a_notice_reaches_only_the_project(server: ServerProcess, connect_by: Connect, watch: Watch) -> None:
    """Unchanged. The page counts the characters, and shows the number of recipients."""
    alice, bob, carol = [await connect_by(user, url=server.url) for user in (ALICE, BOB, CAROL)]
    await join(alice)
    await join(bob, alice)
    await join(carol, project="another")
    operator = await watch("Projects")
    await operator.play(f"""
        await row('{PROJECT}').getByRole('button', {{ name: 'Notice' }}).click();
        const text = dialog.getByLabel('Message for everybody in the project');
        const post = dialog.getByRole('button', {{ name: 'Post' }});
        if (await post.isEnabled()) throw new Error('there is nothing to post');
        await text.fill('🎉'.repeat(501));
        await dialog.getByText('501 of 500 characters: too many').waitFor();
        if (await post.isEnabled()) throw new Error('it is too long');
        await text.fill('Größe: “ok” <b>&</b>');
        await dialog.getByText('20 of 500 characters').waitFor();
        await post.click();
        await outcome.getByText('The notice has reached 2 connections in {PROJECT}.').waitFor();
    """)
    for client in (alice, bob):
        notice = await client.expect("server:notice")
        assert notice["message"] == "Größe: “ok” <b>&</b>"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", notice["timestamp"])
    await carol.hears_nothing()
    assert operator.console == []


async def test_a_notice_is_shown_in_the_playground(server: ServerProcess, chromium: NodeProcess, watch: Watch) -> None:
    alice = Visitor(chromium)
    await alice.open(server, "Alice", "launch")
    operator = await watch("Projects")
    await operator.play("""
        await row('launch').getByRole('button', { name: 'Notice' }).click();
        await dialog.getByLabel('Message for everybody in the project').fill('Back in <b>5</b> minutes');
        await dialog.getByRole('button', { name: 'Post' }).click();
        await outcome.getByText('The notice has reached 1 connection in launch.').waitFor();
    """)
    await alice.play("""
        await page.getByText('From the server: Back in <b>5</b> minutes').waitFor();
        await page.getByRole('button', { name: 'Dismiss' }).click();
        await page.getByText('From the server').waitFor({ state: 'detached' });
    """)
    assert alice.console == operator.console == []
    await alice.close()
