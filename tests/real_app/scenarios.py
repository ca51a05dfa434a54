"""Two users' work on the app's board, while connections, the server and access change."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tests.real_app.stack import Stack
from tests.real_app.user import User
from tests.support.servers import until

from synkora.collaboration.access_answers import DENIED_TTL

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Office:
    """The app and two users: Alice owns the project, Bob may edit it."""

    stack: Stack
    alice: User
    bob: User


async def _edits_arrive(sender: User, receiver: User) -> None:
    """Create, rename, move and delete a card. Fails unless the other user sees each edit."""
    number = next(_numbers)
    title, other = f"Card {number}", f"Renamed {number}"
    await sender.play(f"await create('{title}');")
    await receiver.play(f"await inColumn('{title}', 'To Do').waitFor();")
    await sender.play(f"await rename('{title}', '{other}');")
    await receiver.play(f"await inColumn('{other}', 'To Do').waitFor();")
    await sender.play(f"await drag('{other}', 'Done');")
    await receiver.play(f"await inColumn('{other}', 'Done').waitFor();")
    await sender.play(f"await remove('{other}');")
    await receiver.play(f"await card('{other}').waitFor({{ state: 'detached' }});")


async def _both_ways(office: Office) -> None:
    await _edits_arrive(office.alice, office.bob)
    await _edits_arrive(office.bob, office.alice)


async def _lose_the_connection(office: Office, lose: Callable[[], Awaitable[None]]) -> None:
    """Bob edits on a page that has reconnected. Alice sees the edit on a reloaded page."""
    await lose()
    for user in (office.alice, office.bob):
        await user.play("await live();")
    await office.alice.open_board()
    for _ in range(3):
        await _edits_arrive(office.bob, office.alice)
    await office.bob.open_board()
    await _both_ways(office)


async def sign_in(office: Office) -> None:
    """Two users sign in, and edit one board."""
    await office.stack.give_role(office.alice.email, "OWNER")
    await office.stack.give_role(office.bob.email, "EDITOR")
    for user in (office.alice, office.bob):
        await user.sign_in()
    await _both_ways(office)


async def reload(office: Office) -> None:
    await office.bob.play("await page.reload(); await live();")
    await _both_ways(office)


async def reset(office: Office) -> None:
    """All connections are reset, and no edit after the reconnect is lost."""

    async def cut() -> None:
        office.stack.relay.cut()
        for user in (office.alice, office.bob):
            await user.play("await offline();")

    await _lose_the_connection(office, cut)


async def restart(office: Office) -> None:
    """The server is restarted, and no edit after the reconnect is lost."""

    async def start_again() -> None:
        assert await asyncio.to_thread(office.stack.server.stop) == 0
        for user in (office.alice, office.bob):
            await user.play("await offline();")
        await asyncio.to_thread(office.stack.start_again)

    await _lose_the_connection(office, start_again)


async def change_tab(office: Office) -> None:
    """A user continues after a visit to another tab."""
    await office.bob.play("""
        await page.getByRole('button', { name: 'Git', exact: true }).click();
        await page.waitForURL('**/git');
        await page.getByRole('button', { name: 'Execution Board' }).click();
        await live();
    """)
    await _both_ways(office)


async def become_a_viewer(office: Office) -> None:
    """A viewer sees the others' edits, and cannot edit."""
    await office.alice.play("await create('For all');")
    await office.bob.play("await inColumn('For all', 'To Do').waitFor();")
    await office.stack.give_role(office.bob.email, "VIEWER")
    await office.bob.play("""
        await rename('For all', 'Renamed by a viewer');
        await page.getByText('Failed to update task').first().waitFor();
    """)
    await _edits_arrive(office.alice, office.bob)
    assert await office.alice.sees("For all", "Renamed by a viewer") == [1, 0]


async def lose_access(office: Office) -> None:
    """A former member is informed within a minute, and gets no events."""
    await office.stack.give_role(office.bob.email, None)
    await office.bob.until_told("You no longer have access to this project")
    created, written = "→ Task created in project-of-two by alice", office.stack.server.stdout
    before = written.count(created)
    await office.alice.play("await create('Not for Bob');")
    await until(lambda: written.count(created) > before)
    assert await office.bob.sees("For all", "Not for Bob") == [1, 0]


async def get_access_back(office: Office) -> None:
    """With access again, the user reloads the page after the cached refusal has expired, and continues."""
    await office.stack.give_role(office.bob.email, "EDITOR")
    await asyncio.sleep(DENIED_TTL)
    await office.bob.open_board()
    await _both_ways(office)


SCENARIOS: Final = (
    *(sign_in, reload, reset, restart, change_tab),
    *(become_a_viewer, lose_access, get_access_back),
)
