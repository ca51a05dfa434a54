"""A server under attack, with members at work.

HOSTILE_MESSAGES is the number of hostile messages, HOSTILE_SEED the seed of their choice, HOSTILE_RATE the number a
second. From 100,000 messages on, the members' latency is checked too; on a shared machine it is not reliable.
"""

import asyncio
import json
import os
import random
import re
import statistics
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.hostile.attacker import PING_INTERVAL
from tests.hostile.kinds import CHOSEN, KINDS
from tests.hostile.members import Member, holds_within, join_all, lacking
from tests.support.server_process import ServerProcess

from synkora.identity.tokens import sign

MESSAGES = int(os.environ.get("HOSTILE_MESSAGES", "5000"))
SEED = int(os.environ.get("HOSTILE_SEED", "0")) or random.randrange(1, 2**32)
RATE = float(os.environ.get("HOSTILE_RATE", "1000"))
FULL = 100_000
IS_FULL = MESSAGES >= FULL

MEMBERS, PROJECTS = (50, 5) if IS_FULL else (20, 2)
INTERVAL = 0.5  # seconds between a member's cursors
QUIET = 30 if IS_FULL else 2  # seconds
CALM = 25  # seconds within which everything that was left behind has timed out
#: Bytes that the process may have grown by: what an allocator keeps, not what a leak of each message would take.
SLACK = 40_000_000
SLOWER = 3  # times
#: What is waited for is short, so that its end can be awaited. Compression is on, so that there can be bombs. Few edits
#: are kept for clients that return: by default 64 MB of them would be.
SETTINGS = {
    "RECOVERY_TOTAL_BYTES": "8000000",
    "WS_PING_INTERVAL": str(PING_INTERVAL),
    "WS_PING_TIMEOUT": "6",
    "WS_CONNECT_TIMEOUT": "6",
    "WS_UPGRADE_TIMEOUT": "3",
    "WS_COMPRESSION": "true",
}
SOURCE = os.pathsep.join(filter(None, sys.path))  # so that all processes run what the tests run
#: A token has a header in base64, a dot, a part that may be empty, and another dot. `eyJhbGci` is `{"alg"`, which shows
#: a token that was cut short. The id of a connection can have `eyJ` in it, and has no dots.
_JOSE = re.compile(r"eyJhbGci|eyJ[\w-]{8,}\.[\w-]*\.")


@pytest.mark.parametrize(
    "token",
    [
        sign({"id": "u"}, "the-secret-of-this-test-0d41c6", expires_in=60),  # JWS
        "eyJlbmMiOiJBMjU2R0NNIiwiYWxnIjoiZGlyIn0..c29tZXRoaW5n.aXM.aW4",  # JWE, whose key is in no part
        "eyJhbGciOiJIUzI1Ni",
    ],
)
def test_a_token_in_the_log_is_seen(token: str) -> None:
    """Any kind of token, anywhere in a line. An id with a similar beginning is no token."""
    assert _JOSE.search(f"! Sign-in failed: {token} (127.0.0.1)")
    assert not _JOSE.search("✓ Client connected: 3xweyJ0hbGciOiJIUzI1 (User: Alice). Bye.")


def test_there_are_at_least_thirty_kinds_of_hostility() -> None:
    assert len(KINDS) >= 30
    assert all(attack.__doc__ for attack in KINDS.values())


async def test_hostile_clients_harm_only_themselves(tmp_path: Path) -> None:
    """During every kind of hostility, members lose nothing and get nothing of others."""
    sys.stdout.write(f"HOSTILE_SEED={SEED}\n")
    server = ServerProcess(tmp_path, PYTHONPATH=SOURCE, **SETTINGS)
    members: list[Member] = []
    try:
        report = await _under_attack(server, members)
    finally:
        for member in members:
            member.leave()
        if server.process.poll() is None:
            server.stop()
        else:
            server.wait()
    sys.stdout.write(report)
    assert server.process.returncode == 0, server.output[-3000:]
    assert "Traceback" not in server.output, server.output[-3000:]
    assert not server.stderr, server.stderr
    logged = [line for line in server.output.splitlines() if _JOSE.search(line)]
    assert not logged, f"a token was logged: {logged[:3]}"


async def _under_attack(server: ServerProcess, members: list[Member]) -> str:
    process = psutil.Process(server.process.pid)
    latencies: list[float] = []
    await join_all(server.port, MEMBERS, PROJECTS, members, latencies)
    for member in members:
        member.start(INTERVAL)
    await asyncio.sleep(1)  # until everyone is at work
    latencies.clear()
    await asyncio.sleep(QUIET)
    quiet, rss, files = sorted(latencies), server.rss, process.num_fds()
    latencies.clear()
    account = await _attack(server.port, sorted({member.project for member in members}))
    attacked = sorted(latencies)

    for member in members:
        await member.stop()
    await holds_within(lambda: not any(lacking(members)), 20)
    lost, faults = sum(lacking(members)), [fault for member in members for fault in member.faults]
    alone = await holds_within(lambda: process.num_fds() <= files, CALM)
    open_files = process.num_fds()
    grown = server.rss - rss
    for member in members:
        member.leave()
    health = await _until_idle(server.url)

    ratio = _percentile(attacked, 99) / _percentile(quiet, 99)
    report = _report(account, members, quiet, attacked, rss, grown)
    assert not faults, (faults[:10], report)
    assert not lost, (lost, report)
    assert not account["surprises"], (account["surprises"][:10], report)
    assert account["messages"] >= MESSAGES
    assert set(account["by_kind"]) == set(CHOSEN), report
    assert health["status"] == "healthy", health
    assert health["connections"] == 0, health
    assert health["rooms"] == 0, health
    assert alone, f"{open_files - files} connections were left behind\n{report}"
    assert grown < SLACK, report
    assert not IS_FULL or ratio <= SLOWER, report
    return report


async def _attack(port: int, victims: list[str]) -> dict[str, Any]:
    attack = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hostile.attack", str(port), str(MESSAGES), str(RATE), str(SEED), *victims),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    try:
        output, errors = await attack.communicate()
    finally:
        if attack.returncode is None:
            attack.kill()
    assert attack.returncode == 0, errors.decode()[-3000:]
    account: dict[str, Any] = json.loads(output)
    return account


async def _until_idle(url: str) -> dict[str, Any]:
    """The answer of /health without connections, or the last answer."""
    health: dict[str, Any] = {}
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(CALM * 5):
            health = (await client.get(f"{url}/health")).json()
            if not health["connections"]:
                break
            await asyncio.sleep(0.2)
    return health


def _percentile(values: list[float], percent: int) -> float:
    return values[len(values) * percent // 100]


def _report(
    account: dict[str, Any], members: list[Member], quiet: list[float], attacked: list[float], rss: int, grown: int
) -> str:
    def latency(values: list[float]) -> str:
        figures = (statistics.median(values), _percentile(values, 99), values[-1])
        return "median {:.1f} ms, p99 {:.1f} ms, most {:.1f} ms".format(*(1000 * figure for figure in figures))

    kinds = "".join(
        f"  {kind:28}{account['by_kind'].get(kind, 0):>8} messages{account['runs'].get(kind, 0):>6} runs"
        f"{account['refused'].get(kind, 0):>6} not accepted\n"
        for kind in KINDS
    )
    return (
        f"\nseed {SEED}: {account['messages']} hostile messages of {len(account['by_kind'])} kinds "
        f"over {account['connections']} connections\n{kinds}"
        f"{len(members)} members sent {sum(member.sent.total() for member in members)} messages "
        f"and got {sum(member.received.total() for member in members)}\n"
        f"latency quiet:        {latency(quiet)}\nlatency under attack: {latency(attacked)}\n"
        f"p99 under attack / quiet: {_percentile(attacked, 99) / _percentile(quiet, 99):.2f}\n"
        f"memory: {rss / 1e6:.1f} MB before, {grown / 1e6:+.1f} MB after\n"
    )
