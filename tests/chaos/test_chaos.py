"""Instances and Redis die, freeze and lose connections at random, while users come, work and leave.

Every fault happens at least once, and then at random until CHAOS_SECONDS have passed. CHAOS_SEED is the seed,
CHAOS_KINDS are the kinds of faults, by default all. The same seed causes the same faults at the same times, but
in other situations.
"""

import asyncio
import os
import random
import re
import sys
import time
from pathlib import Path

from tests.chaos.crowd import Crowd, crowd, until
from tests.chaos.deliveries import lost, misdelivered, owed
from tests.chaos.rosters import View, untrue
from tests.chaos.site import Site
from tests.chaos.storm import Storm

SECONDS = float(os.environ.get("CHAOS_SECONDS", "30"))
KINDS = os.environ.get("CHAOS_KINDS", "").split()
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.randrange(1, 2**32)
PLACES = 4
#: Seconds of work after the last fault.
AFTERWARDS = 4
#: Seconds without changes within which everyone has the correct members. A busy machine takes more than 10 s.
CALM = 20
SHOWN = 25  # of what is wrong
#: What Redis keeps for a while, for clients that return, when all instances have stopped.
KEPT = re.compile(
    rb"synkora:socket\.io:("
    rb"instances|instance:.*|project:.*|"
    rb"\{log:/\}:(log|marks|rooms|floors|large|stream:.*|index:.*)|"
    rb"\{sessions:/\}:(lost|times|pid:.*))"
)


async def test_users_are_served_through_a_storm(tmp_path: Path) -> None:
    """Messages arrive once and in order, except those that a fault excuses. When nothing changes, all clients know the
    members.
    """
    sys.stdout.write(f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}\n")
    chance = random.Random(SEED)
    begun = time.monotonic()
    async with Site(tmp_path, PLACES) as site:
        async with crowd(site, chance) as users, Storm(site, random.Random(chance.random())) as storm:
            await users.settle()
            while True:
                await one_round(site, users, storm, chance.sample(KINDS or storm.kinds, len(KINDS or storm.kinds)))
                if time.monotonic() - begun > SECONDS:
                    break
        await until(lambda: not projects(site), CALM)
        assert projects(site) == []
        for place in site.places:
            await place.stop()
        assert [key for key in site.redis.do("KEYS", "*") if not KEPT.fullmatch(key)] == []
        assert eternal(site) == []
        assert "Traceback" not in site.output, site.output


async def one_round(site: Site, users: Crowd, storm: Storm, kinds: list[str]) -> None:
    """Cause faults, then check everything, including messages afterwards."""
    await storm.rage(kinds)
    users.rest()
    await storm.pass_over()
    await users.settle()
    calm = max(site.mended, users.resting_since)
    await until(lambda: not untold(site), calm + CALM - time.monotonic())
    assert not untold(site), report(site, untold(site))
    users.work()
    await asyncio.sleep(AFTERWARDS)
    users.rest()
    await users.settle()
    book = site.book
    # The last messages are on their way: a busy machine takes seconds for them.
    await until(
        lambda: not untold(site) and not any(lost(book, site.faults)), users.resting_since + CALM - time.monotonic()
    )
    wrong = [*book.faults, *misdelivered(book), *lost(book, site.faults), *untold(site), *eternal(site)]
    for visit in book.visits:
        wrong += View(visit).replay(book, site.faults)
    assert not wrong, report(site, wrong)
    sys.stdout.write(account(site, kinds))
    book.forget_past()
    users.work()


def untold(site: Site) -> list[str]:
    """What the connected clients do not know."""
    now = time.monotonic()
    wrong: list[str] = []
    for visit in site.book.visits:
        if now < visit.until:
            view = View(visit)
            view.recall(site.book, site.faults)
            wrong += untrue(site.book, view, now)
    return wrong


def projects(site: Site) -> list[bytes]:
    found: list[bytes] = site.redis.do("KEYS", "synkora:*:project:*")
    return found


def eternal(site: Site) -> list[str]:
    """The keys that would stay in Redis if all instances died now."""
    keys = site.redis.do("KEYS", "*")
    return [f"{key} has no lifetime" for key in keys if site.redis.do("TTL", key) == -1]


def remembered(site: Site) -> str:
    site.redis.resume()
    read = {b"zset": ("ZRANGE", 0, -1, "WITHSCORES"), b"set": ("SMEMBERS",), b"hash": ("HGETALL",)}
    lines = []
    keys = ("instances", "instance:*", "project:*")
    for key in [key for pattern in keys for key in site.redis.do("KEYS", f"synkora:socket.io:{pattern}")]:
        command, *rest = read[site.redis.do("TYPE", key)]
        lines.append(f"{key}: {site.redis.do(command, key, *rest)}")
    return "\n".join(lines)


def account(site: Site, kinds: list[str]) -> str:
    book = site.book
    local, remote = owed(book, site.faults)
    told = sum(len(visit.notes) for visit in book.visits)
    came = sum(len(visit.received) for visit in book.visits)
    return (
        f"{' '.join(kinds)}: {len(site.faults.all)} faults so far\n"
        f"    {len(book.messages)} messages, {came} deliveries; owed: {local} within an instance, {remote} beyond\n"
        f"    {len(book.visits)} visits, {told} presence events\n"
    )


def report(site: Site, wrong: list[str]) -> str:
    faults = "\n".join(map(str, site.faults.all))
    shown = "\n".join(wrong[:SHOWN])
    return (
        f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}\n"
        f"{faults}\n{len(wrong)} things are wrong:\n{shown}\n{remembered(site)}\n{site.output}"
    )
