"""The steps of docs/scaling.md, performed while clients are connected."""

import asyncio
import re
import shlex
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from tests.docs.documents import ROOT, Block, blocks, table
from tests.end_to_end.member import Member
from tests.end_to_end.site import Site, calm
from tests.support.nginx import CONFIGURATION, WITH_NODEJS, running_nginx
from tests.support.node_process import NodeProcess
from tests.support.processes import Program, free_port
from tests.support.real_clients import WAYS
from tests.support.redis_server import RedisServer, running_redis
from tests.support.users import CLIENTS, PROJECT, SECRET

DOCUMENT: Final = ROOT / "docs" / "scaling.md"
NODE_SERVER: Final = ROOT / "bench" / "peers" / "node" / "server.mjs"
#: The port of the fourth instance, which the document adds to the three of the file.
_FOURTH: Final = 3004

#: Keys that exist while a client is disconnected, and after a quiet project was forgotten.
_SOMETIMES: Final = {"lost", "times", "floors", "large"}

_POLLING, _UPGRADE, _WEBSOCKET = (WAYS[name] for name in ("js-polling", "js-upgrade", "js-websocket"))
CROWD = (_POLLING, _UPGRADE, _WEBSOCKET)


def block(language: str, words: str) -> Block:
    """The document's only block of the language that contains these words."""
    (found,) = (each for each in blocks(DOCUMENT, language) if words in each.text)
    return found


def settings(redis: RedisServer) -> dict[str, str]:
    """The document's additions to an instance's settings, with the test's Redis."""
    text = block("sh", "REDIS_URL=").text.replace("10.0.0.5:6379", f"127.0.0.1:{redis.port}")
    return dict(line.split("=", 1) for line in text.splitlines())


def command() -> dict[str, str]:
    """The settings with which the document starts a second instance. The command is the server's."""
    *given, program, argument = shlex.split(block("sh", "synkora serve").text)
    assert [program, argument] == [".venv/bin/synkora", "serve"]
    return dict(setting.split("=", 1) for setting in given)


def allow(redis: RedisServer, words: str) -> None:
    """Run the document's Redis command that contains these words."""
    shown, answer = block("console", words).text.splitlines()
    prompt, program, *rest = shlex.split(shown)
    assert (prompt, program) == ("$", "redis-cli")
    assert redis.do(*rest) == answer.encode()


def with_more(text: str, ports: list[int]) -> str:
    """The configuration with the document's lines for more than three instances, on these ports."""
    (line,) = block("nginx", f":{_FOURTH}").text.splitlines()
    for port in ports:
        last = re.findall(r"^ +server 127\.0\.0\.1:\d+ max_fails=0;\n", text, re.MULTILINE)[-1]
        text = text.replace(last, last + line.replace(str(_FOURTH), str(port)) + "\n")
    return text


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        allow(server, "the-password")
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def site(tmp_path: Path, redis: RedisServer, node: NodeProcess) -> AsyncIterator[Site]:
    site = Site(tmp_path, redis, node)
    try:
        yield site
    finally:
        await site.close()


def is_in(member: Member) -> bool:
    """Whether a client has joined the project since its last connect."""
    names = [name for name, *_ in member.events.items]
    return "connected" in names and "users:active" in names[len(names) - names[::-1].index("connected") :]


async def expect_relays(members: list[Member]) -> None:
    """Let everyone send something, and wait until everyone else has it, once."""
    await calm(lambda: all(map(is_in, members)), lambda: [member.ids for member in members if not is_in(member)])
    before = [len(member.got("task:create")) for member in members]
    for member in members:
        await member.emit("task:create", {"projectId": PROJECT, "task": member.user.id})

    def got() -> list[list[str]]:
        return [sorted(each.got("task:create")[start:]) for each, start in zip(members, before, strict=True)]

    wanted = [sorted(each.user.id for each in members if each is not member) for member in members]
    await calm(lambda: [len(each) for each in got()] == [len(each) for each in wanted], got)
    assert got() == wanted


async def expect_again(members: list[Member], times: int) -> None:
    await calm(lambda: {len(member.ids) for member in members} == {times}, lambda: [each.ids for each in members])


async def test_from_one_instance_to_ten(site: Site, redis: RedisServer) -> None:
    """At each step all members work with all others, and a new client is on the new instance."""
    more: list[int] = []
    port = free_port()
    alone = site.add(WS_PORT=str(port), REDIS_URL="")
    nginx = site.front(running_nginx([port], change=lambda text: with_more(text, more)))
    await site.enter(*CROWD)

    assert await asyncio.to_thread(alone.stop) == 0
    site.instances.remove(alone)
    first = site.add(WS_PORT=str(port), **settings(redis))
    await site.expect_back(site.members)
    joined = ["✓ One of several instances: ", f"✓ Redis is connected: 127.0.0.1:{redis.port}"]
    assert all(any(line.startswith(beginning) for line in first.stdout) for beginning in joined)

    assert command() == {"WS_PORT": "3002"}
    second = site.add(**settings(redis))
    nginx.configure(site.ports)
    await asyncio.to_thread(nginx.reload)
    await site.enter_until(lambda: bool(site.of(second)), *CROWD)
    await expect_relays(site.members)

    for _ in range(8):
        site.add(**settings(redis))
    more += site.ports[3:]
    nginx.configure(site.ports)
    await asyncio.to_thread(nginx.reload)
    await site.enter_until(lambda: all(map(site.of, site.instances)), _WEBSOCKET)
    await expect_relays(site.members)
    expect_documented_keys(redis)
    assert [len(member.ids) for member in site.members] == [2] * 3 + [1] * (len(site.members) - 3)

    last = site.instances[-1]
    moving = site.of(last)
    assert await asyncio.to_thread(last.stop) == 0
    await expect_again(moving, 2)
    more.pop()
    nginx.configure(site.ports[:-1])
    await asyncio.to_thread(nginx.reload)
    await site.expect_whole()
    await expect_relays(site.members)


def expect_documented_keys(redis: RedisServer) -> None:
    """Check that Redis holds the documented keys with the documented lifetimes."""
    lifetimes = {
        re.sub("NAME$|ID$", ".+", re.escape(key.strip("`"))): int(seconds.replace(",", ""))
        for key, _, seconds in table(DOCUMENT, "key")
    }
    keys = [key.decode() for key in redis.do("KEYS", "*")]
    found = {pattern: [key for key in keys if re.fullmatch(pattern, key)] for pattern in lifetimes}
    assert sorted(key for some in found.values() for key in some) == sorted(keys)
    assert {pattern.rpartition(":")[2] for pattern, some in found.items() if not some} <= _SOMETIMES
    for pattern, some in found.items():
        assert all(0 < redis.do("TTL", key) <= lifetimes[pattern] for key in some), pattern


@asynccontextmanager
async def node_server(folder: Path, port: int, **variables: str) -> AsyncIterator[Program]:
    """The benchmark's Node.js server. It ends with the block."""
    shutil.copy(NODE_SERVER, folder)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(CLIENTS / "node_modules")
    given = {"NEXTAUTH_SECRET": SECRET, "WS_HOST": "127.0.0.1", "WS_PORT": str(port), **variables}
    with Program(["node", NODE_SERVER.name], folder, **given) as program:
        await calm(lambda: can_connect(port), lambda: program.output)
        yield program


async def stop(program: Program) -> None:
    """End a Node.js server, which ignores SIGTERM."""
    program.signal()
    await asyncio.to_thread(program.wait)


def can_connect(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def on(server: Program, members: list[Member]) -> list[Member]:
    return [member for member in members if f"connected: {member.id} " in server.output]


def drained(text: str) -> str:
    """The configuration with the document's mark on the line of the first instance."""
    (marked,) = block("nginx", "down;").text.splitlines()
    (line,) = re.findall(r"^ +server .*# a$", text, re.MULTILINE)
    port = re.findall(r":(\d+)", line)[0]
    return text.replace(line, marked.replace("3001", port))


async def test_from_node_to_this_server(site: Site, redis: RedisServer, tmp_path: Path) -> None:
    """At each step all clients work with each other, on either kind of server. In the end presence is complete."""
    drains: list[bool] = []
    port = free_port()
    async with node_server(tmp_path, port) as today:
        front = running_nginx([port], change=lambda text: drained(text) if drains else text, configuration=WITH_NODEJS)
        nginx = site.front(front)
        first = await site.connect(*CROWD)
        await expect_relays(first)
        await stop(today)

    allow(redis, "#/#*")
    async with node_server(tmp_path, port, REDIS_URL=settings(redis)["REDIS_URL"]) as beside:
        await expect_again(first, 2)
        await expect_relays(first)

        ours = site.add(**settings(redis))
        nginx.configure([port, ours.port])
        await asyncio.to_thread(nginx.reload)
        await site.connect(*CROWD, *CROWD)
        # A client whose nginx worker ends with the reload reconnects, and is disconnected for a moment.
        await calm(
            lambda: {len(on(beside, site.members)), len(site.of(ours))} == {6, 3},
            lambda: [each.ids for each in site.members],
        )
        await expect_relays(site.members)
        await calm(
            lambda: all(member.counted == 3 for member in site.of(ours)), lambda: [each.sees for each in site.members]
        )

        drains.append(True)
        nginx.configure([port, ours.port])
        await asyncio.to_thread(nginx.reload)
        newcomers = await site.connect(*CROWD)
        # The server's log is read by a thread, which may be behind.
        await calm(lambda: set(newcomers) < set(site.of(ours)), lambda: [each.ids for each in newcomers])
        await expect_relays(site.members)
        moving = on(beside, site.members)
        assert {member.way for member in moving} == set(CROWD)
        assert [len(member.ids) for member in moving] == [2] * 3 + [1] * 3
        await stop(beside)

    await calm(lambda: len(site.of(ours)) == len(site.members), lambda: [member.ids for member in site.members])
    await site.expect_whole()
    drains.clear()
    nginx.configure([ours.port])
    await asyncio.to_thread(nginx.reload)
    await site.enter(*CROWD)
    await expect_relays(site.members)


async def test_the_node_server_matches_the_document() -> None:
    """It has the adapter, and sends presence only to its own clients."""
    text = NODE_SERVER.read_text(encoding="utf-8")
    lines = [line for each in blocks(DOCUMENT, "js") for line in each.text.splitlines()]
    assert len(lines) > 5
    assert [line for line in lines if line not in text] == []
    told = re.findall(r"^.*\.emit\(\"user.*$", text, re.MULTILINE)
    assert len(told) == 7
    assert [line for line in told if ".local." not in line and "socket.emit(" not in line] == []


async def test_lines_for_more_instances_are_like_those_of_the_file() -> None:
    """The document's line for a fourth instance is the third one's with another port."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    assert with_more(text, [_FOURTH]).replace(f":{_FOURTH}", ":3003").count("server 127.0.0.1:3003 max_fails=0;") == 2
