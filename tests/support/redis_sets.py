"""Several Redis as one: a master with replicas and Sentinels, or a Redis Cluster. Each is a process of its own."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import hiredis
from tests.support.certificates import Issued
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer

MASTER: Final = "mymaster"
DEFAULT: Final = "synkora:socket.io"  # begins the keys of a server without another prefix
_DOWN_AFTER: Final = 500  # ms: Sentinels and nodes take a silent Redis for dead
_NEVER: Final = 3_600_000  # ms: no Redis is silent for so long
_FAILOVER: Final = 5000  # ms for one attempt: with less, two Sentinels may promote two replicas
_LAG: Final = 0.3  # seconds, less than it takes to look dead
_REPLICA: Final = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


class Sentinels:
    """A master with replicas, and three Sentinels. `redis` are all three, the master first."""

    def __init__(self, redis: list[RedisServer], sentinels: list[RedisServer]) -> None:
        self.redis = redis
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        return _url("sentinel", self.sentinels) + f"/{MASTER}"

    @property
    def master_port(self) -> int:
        """Where the Sentinels say that the master is."""
        _, port = self.sentinels[0].do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return int(port)

    @property
    def master(self) -> RedisServer:
        return next(each for each in self.redis if _port(each) == self.master_port)

    def replicate(self) -> None:
        """Wait until the replicas have what the master has now."""
        written = _offset(self.master, "master_repl_offset")
        replicas = [each for each in self.redis if each is not self.master]
        await_that(lambda: all(_offset(each, "slave_repl_offset") >= written for each in replicas), "they follow")

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """Let the Sentinels replace a dead master. At other times a master may be silent on a busy machine."""
        self.take_for_dead_after(_DOWN_AFTER)
        try:
            yield
        finally:
            self.take_for_dead_after(_NEVER)

    def take_for_dead_after(self, silence: int) -> None:
        for each in self.sentinels:
            each.do("SENTINEL", "SET", MASTER, "down-after-milliseconds", silence)

    def fail_over(self, ahead: Callable[[], object] = lambda: time.sleep(_LAG)) -> None:
        """Let the master die with the writes of `ahead`, which no replica has, and wait for the next master."""
        dead = self.master
        _die_ahead(dead, [each for each in self.redis if each is not dead], ahead)
        with self.replacing():
            await_that(lambda: self.master_port != _port(dead), "the Sentinels make another one the master")


@contextmanager
def running_sentinels(
    *options: str,
    password: str | None = None,
    program: str = "redis-server",
    replicas: int = 2,
    tls: Issued | None = None,
) -> Iterator[Sentinels]:
    """A master, replicas and three Sentinels; `options` are those of the master and the replicas.

    With `tls` all of them use TLS among each other, and name the ports for TLS.
    """
    with ExitStack() as stack:

        def start(*options: str, password: str | None = None) -> RedisServer:
            server = _server(*options, tls=tls, password=password, program=program)
            stack.callback(server.remove)
            return server.start()

        common = (*_REPLICA, *options)
        if password is not None:
            common += ("--masterauth", password)
        redis = [start(*common, password=password)]
        redis += [
            start(*common, "--replicaof", f"127.0.0.1 {_port(redis[0])}", password=password) for _ in range(replicas)
        ]
        sentinels = [start("--sentinel") for _ in range(3)]
        for each in sentinels:
            each.do("SENTINEL", "MONITOR", MASTER, "127.0.0.1", _port(redis[0]), 2)
            credentials: tuple[str, ...] = () if password is None else ("auth-pass", password)
            times = ("down-after-milliseconds", str(_NEVER), "failover-timeout", str(_FAILOVER))
            each.do("SENTINEL", "SET", MASTER, *times, *credentials)
        await_that(lambda: all(_knows_all(each, replicas) for each in sentinels), "the Sentinels find each other")
        yield Sentinels(redis, sentinels)


def _server(*options: str, tls: Issued | None, password: str | None = None, program: str) -> RedisServer:
    """Make a server that uses TLS with the others, if there is a certificate."""
    if tls is None:
        return RedisServer(*options, password=password, program=program)
    among = ("--tls-replication", "yes", "--tls-ca-cert-file", str(tls.authority))
    return RedisServer(*among, *options, password=password, program=program, tls=(tls.certfile, tls.keyfile))


def _port(server: RedisServer) -> int:
    """Return the port that other servers know."""
    return server.tls_port or server.port


def _url(kind: str, servers: list[RedisServer]) -> str:
    scheme = "rediss" if servers[0].tls_port else "redis"
    return f"{scheme}+{kind}://" + ",".join(f"127.0.0.1:{_port(each)}" for each in servers)


def _knows_all(sentinel: RedisServer, replicas: int) -> bool:
    known = _pairs(sentinel.do("SENTINEL", "MASTER", MASTER))
    found = [_pairs(each) for each in sentinel.do("SENTINEL", "REPLICAS", MASTER)]
    linked = [each for each in found if each[b"master-link-status"] == b"ok"]
    return known[b"num-other-sentinels"] == b"2" and len(linked) == replicas


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


class RedisCluster:
    """Three masters and a replica of each. `master` has the keys of a server, after a failover."""

    def __init__(self, nodes: list[RedisServer]) -> None:
        self.nodes = nodes
        self.master: RedisServer | None = None

    @property
    def url(self) -> str:
        return _url("cluster", self.nodes[:3])

    def owner(self, slot: int, *, but: int = 0) -> RedisServer | None:
        """Return the node that has a slot, unless its port is `but`. All nodes but that one must agree."""
        found = {_owner_port(each.do("CLUSTER", "SLOTS"), slot) for each in self.nodes if each.port != but}
        if len(found) != 1 or but in found:
            return None
        (port,) = found
        return next((each for each in self.nodes if each.port == port), None)

    def fail_over(self) -> None:
        """Let the node of the server's keys die with writes that no replica has, and wait for the next one."""
        slot = self.nodes[0].do("CLUSTER", "KEYSLOT", DEFAULT)
        dead = self.owner(slot)
        assert dead is not None
        _die_ahead(dead, [each for each in self.nodes if f"127.0.0.1:{each.port}@".encode() in _replicas(dead)])
        await_that(lambda: self.owner(slot, but=dead.port) is not None, "the replica takes over")
        self.master = self.owner(slot, but=dead.port)


@contextmanager
def running_cluster(program: str = "redis-server", tls: Issued | None = None) -> Iterator[RedisCluster]:
    """Six nodes, with `tls` by TLS among each other too."""
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(_DOWN_AFTER), *_REPLICA]
    if tls is not None:
        options += ["--tls-cluster", "yes"]
    with ExitStack() as stack:
        nodes = []
        for _ in range(6):
            node = _server(*options, tls=tls, program=program)
            stack.callback(node.remove)
            nodes.append(node.start())
        _join(nodes, () if tls is None else ("--tls", "--cacert", str(tls.authority)))
        yield RedisCluster(nodes)


def _join(nodes: list[RedisServer], options: tuple[str, ...]) -> None:
    command = ["redis-cli", *options, "--cluster", "create", *(f"127.0.0.1:{_port(each)}" for each in nodes)]
    made = subprocess.run(
        [*command, "--cluster-replicas", "1", "--cluster-yes"], capture_output=True, text=True, timeout=PATIENCE * 3
    )
    assert made.returncode == 0, made.stdout + made.stderr
    await_that(lambda: all(_is_whole(each) for each in nodes), "the nodes know each other")


def _is_whole(node: RedisServer) -> bool:
    slots = node.do("CLUSTER", "SLOTS")
    state = node.do("CLUSTER", "INFO")
    linked = b"role:master" in (info := node.do("INFO", "replication")) or b"master_link_status:up" in info
    return b"cluster_state:ok" in state and len(slots) == 3 and all(len(each) == 4 for each in slots) and linked


def _replicas(node: RedisServer) -> bytes:
    return b"\n".join(node.do("CLUSTER", "REPLICAS", node.do("CLUSTER", "MYID")))


def _offset(server: RedisServer, name: str) -> int:
    lines: list[bytes] = server.do("INFO", "replication").splitlines()
    return int(next(line for line in lines if line.startswith(name.encode() + b":")).split(b":")[1])


def _die_ahead(
    master: RedisServer, replicas: list[RedisServer], ahead: Callable[[], object] = lambda: time.sleep(_LAG)
) -> None:
    assert replicas
    for each in replicas:
        each.pause()
    master.do("CLIENT", "KILL", "TYPE", "replica")
    ahead()
    master.kill()
    for each in replicas:
        each.resume()


def _owner_port(slots: list[Any], slot: int) -> int:
    return next((int(nodes[0][1]) for first, last, *nodes in slots if first <= slot <= last), 0)


def await_that(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds. Failures of Redis count as no."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            if holds():
                return
        except (OSError, hiredis.ReplyError):
            pass
        assert time.monotonic() < until, f"{what}: not within {PATIENCE} s"
        time.sleep(0.02)
