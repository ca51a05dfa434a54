"""Build Synkora's web app from a checkout, and let two users use its board: `python -m tests.real_app CHECKOUT`.

Nothing in the checkout is changed: a copy in build/real-app is adapted and built.
"""

import asyncio
import shutil
import sys
import time
from pathlib import Path
from typing import Final

from tests.access.processes import find_program
from tests.real_app.checkout import Built, UnfitError, build, examine
from tests.real_app.scenarios import SCENARIOS, Office
from tests.real_app.stack import running
from tests.real_app.user import User
from tests.support.node_process import NodeProcess

_FOLDER: Final = Path("build/real-app").absolute()
_USERS: Final = {"alice": "alice@example.com", "bob": "bob@example.com"}
_SHOWN: Final = 40  # lines of a program, once something has failed


def main(arguments: list[str]) -> int:
    """Build and drive the app. Returns the exit code."""
    try:
        if len(arguments) != 1 or not arguments[0]:
            raise UnfitError("make real-app needs a checkout of Synkora's web app: make real-app APP=../synkora")
        checkout = Path(arguments[0]).absolute()
        examine(checkout)
        _need_tools()
        _say(f"Building the app in {_FOLDER} (the first time this takes minutes) …")
        built = build(checkout, _FOLDER)
    except UnfitError as error:
        _complain(str(error))
        return 2
    return asyncio.run(_drive(built))


def _need_tools() -> None:
    for name, package in (("node", "Node.js 20.19 or newer"), ("npm", "npm"), ("chromium", "Chromium")):
        if shutil.which(name) is None:
            raise UnfitError(f"make real-app needs {package}: {name} is missing")
    try:
        find_program("postgres")
    except AssertionError as error:
        raise UnfitError(f"make real-app needs PostgreSQL: {error}") from None


async def _drive(built: Built) -> int:
    chromium = await NodeProcess.start("remote-browser.mjs", shutil.which("chromium") or "")
    try:
        async with running(built) as stack:
            await stack.make_users(_USERS)
            alice, bob = (User(chromium, stack, email) for email in _USERS.values())
            office = Office(stack, alice, bob)
            for scenario in SCENARIOS:
                began = time.monotonic()
                try:
                    await scenario(office)
                except AssertionError as error:
                    _show_failure(office, f"✗ {scenario.__doc__}\n{error}")
                    return 1
                _say(f"✓ {scenario.__doc__} ({time.monotonic() - began:.0f} s)")
            for user in (alice, bob):
                await user.close()
    finally:
        await chromium.stop()
    return 0


def _show_failure(office: Office, words: str) -> None:
    _complain(words)
    said = {"the server": office.stack.server.output, "the app": office.stack.app.output}
    said |= {user.email: "\n".join(user.console) for user in (office.alice, office.bob)}
    for name, text in said.items():
        _complain("\n".join([f"--- {name}", *text.splitlines()[-_SHOWN:]]))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
