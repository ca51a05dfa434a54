"""How an instance joins the others, and how it stops."""

from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.app.cluster import Cluster
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.collaboration.presence import PresenceEntry


def cluster_on(redis: RedisServer) -> Cluster:
    return Cluster(redis.url, "socket.io", FailureBackoff(3))


async def test_a_redis_that_refuses_commands_is_a_problem(redis: RedisServer) -> None:
    """Until Redis accepts them: its memory may be full while its channels work."""
    redis.do("CONFIG", "SET", "maxmemory", 1)
    async with cluster_on(redis) as cluster:
        cluster.presence.add_connection("p", PresenceEntry("s1", "u1", "Ann", "2026-01-02T03:04:05.678Z"))
        await until(lambda: cluster.problem is not None and "maxmemory" in cluster.problem)
        redis.do("CONFIG", "SET", "maxmemory", 0)
        await until(lambda: cluster.problem is None)
        await cluster.leave()


async def test_nothing_remains_in_redis_of_a_stopped_instance(redis: RedisServer) -> None:
    async with cluster_on(redis) as cluster:
        cluster.presence.add_connection("p", PresenceEntry("s1", "u1", "Ann", "2026-01-02T03:04:05.678Z"))
        await until(lambda: len(redis.do("KEYS", "synkora:socket.io:*")) == 3)
        await cluster.leave()
    assert redis.do("KEYS", "*") == []
    assert redis.do("PUBSUB", "CHANNELS") == []


async def test_it_stops_without_an_answer_of_redis(redis: RedisServer) -> None:
    """The server stops without Redis. Redis executes the commands when it continues."""
    async with cluster_on(redis) as cluster:
        redis.pause()
        await cluster.leave()
    redis.resume()
    await cluster._link.close()  # which the end of the process would have closed
    assert redis.do("KEYS", "*") == []
