"""The attack, as its own process: `python -m tests.hostile.attack PORT MESSAGES RATE SEED VICTIM…`.

Writes its account as one JSON object. HOSTILE_KINDS has the names of the kinds, with commas; by default, all.
HOSTILE_ATTACKERS is how many clients attack at a time.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import Sequence

import uvloop
from tests.hostile.attacker import Account, Attacker
from tests.hostile.kinds import CHOSEN, KINDS
from tests.support.wire import Refused

ATTACKERS = 200
_LONGEST = 90  # seconds for one run of one kind, which otherwise hangs


class Schedule:
    """The order of kinds: each once in a random order, then any."""

    def __init__(self, chance: random.Random, messages: int, account: Account, kinds: Sequence[str]) -> None:
        self._chance = chance
        self._kinds = kinds
        self._first = list(kinds)
        self._messages = messages
        self._account = account
        chance.shuffle(self._first)

    def next(self) -> str | None:
        """The name of the next kind, or None after enough messages."""
        if self._first:
            return self._first.pop()
        if self._account.messages >= self._messages:
            return None
        return self._chance.choice(self._kinds)


async def act(attacker: Attacker, schedule: Schedule, account: Account) -> None:
    """Let one attacker run until enough messages are sent."""
    while True:
        await account.wait_for_turn()
        kind = schedule.next()
        if kind is None:
            break
        attacker.kind = kind
        account.runs[kind] = account.runs.get(kind, 0) + 1
        try:
            async with asyncio.timeout(_LONGEST):
                await KINDS[kind](attacker)
        except Refused:
            account.refused[kind] = account.refused.get(kind, 0) + 1
        except TimeoutError:  # which is an OSError
            account.surprises.append(f"{kind}: no answer")
        except (OSError, EOFError):
            pass  # the server has hung up
        except AssertionError as surprise:
            account.surprises.append(f"{kind}: {str(surprise)[:300]}")


async def attack(
    port: int, messages: int, rate: float, seed: int, victims: list[str], kinds: Sequence[str], count: int
) -> Account:
    """Send hostile messages from many addresses simultaneously. Returns the counts."""
    chance = random.Random(seed)
    account = Account(rate)
    schedule = Schedule(chance, messages, account, kinds)
    attackers = [Attacker(number, port, victims, account, random.Random(chance.random())) for number in range(count)]
    async with asyncio.TaskGroup() as group:
        for attacker in attackers:
            group.create_task(act(attacker, schedule, account))
    return account


def main(port: str, messages: str, rate: str, seed: str, *victims: str) -> None:
    """Run the attack."""
    os.nice(10)  # attackers have their own machines, so they must not slow down the members
    count = int(os.environ.get("HOSTILE_ATTACKERS", ATTACKERS))
    account = uvloop.run(attack(int(port), int(messages), float(rate), int(seed), list(victims), CHOSEN, count))
    sys.stdout.write(json.dumps({name: value for name, value in vars(account).items() if name != "turns"}))


if __name__ == "__main__":
    main(*sys.argv[1:])
