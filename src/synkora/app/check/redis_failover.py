"""What takes over when the Redis at `REDIS_URL` dies: Sentinels, or replicas in a Cluster."""

import asyncio
import re
from typing import Any, Final

from synkora.app.check.finding import Finding, risky, skipped, well
from synkora.app.check.redis_probe import RedisProbe
from synkora.redis.errors import LinkDown, RedisRefused
from synkora.redis.handshake import ask, questioning
from synkora.redis.url import RedisUrl, Server

NAME: Final = "redis-failover"
_PATIENCE: Final = 1.0  # seconds for each Sentinel
_QUORUM: Final = 3  # Sentinels: with fewer, the death of one can stop the failover
_REPLICAS: Final = re.compile(rb"^connected_slaves:(\d+)", re.MULTILINE)
_MIN_REPLICAS: Final = b"min_slaves_good_slaves:"  # is there only with min-replicas-to-write


async def check_failover(visit: RedisProbe, url: RedisUrl, server: Server) -> Finding:
    """Check that another Redis takes over, and that a loss of writes is noticed."""
    if not visit.data_id:
        message = (
            "REDIS_URL's user may not ask which data Redis has (INFO): edits that a failover loses may go unnoticed"
        )
        return risky(NAME, message, "Give the user +info, as the line in docs/scaling.md has")
    is_single = url.master is None and not visit.is_cluster
    if is_single:
        return skipped(NAME, "REDIS_URL names one Redis: while it is away, each instance serves its own clients alone")
    about = await visit.ask("INFO", "replication")
    found = _REPLICAS.search(about)
    replicas = int(found[1]) if found else 0
    kind = "node of the Cluster" if visit.is_cluster else "master"
    told = f"the {kind} is {server.address}, with {replicas} replica{'' if replicas == 1 else 's'}"
    if not replicas:
        return risky(NAME, f"{told}: nothing takes over when it dies", "Add a replica")
    if url.master is not None:
        answers = await asyncio.gather(*(_master(each, url.master) for each in url.servers))
        agreeing = sum(answer == [server.host.encode(), b"%d" % server.port] for answer in answers)
        told += f"; {agreeing} of {len(answers)} Sentinels of REDIS_URL know it"
        if agreeing < len(answers):
            return risky(NAME, told, "Start the other Sentinels, or take them out of REDIS_URL")
        if len(answers) < _QUORUM:
            return risky(NAME, told, "Name three Sentinels or more, on different machines")
        if _MIN_REPLICAS not in about:
            told += "; a master that is cut off from its replicas takes edits that will be lost"
            return risky(NAME, told, "redis-cli CONFIG SET min-replicas-to-write 1, on the master and on each replica")
    return well(NAME, told)


async def _master(sentinel: Server, name: str) -> Any:
    try:
        async with asyncio.timeout(_PATIENCE), questioning(sentinel) as (connection, _):
            return await ask(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
    except (LinkDown, RedisRefused, OSError):
        return None
