"""Four thousand clients connect and disconnect: nothing of them remains."""

from tests.end_to_end.churn import come_and_go
from tests.support.server_process import StartServer, expect_health

ROUND = 1000  # clients
#: What the memory may grow by in the three rounds after the first: 2 kB for each client would be more.
SLACK = 6_000_000


async def test_nothing_stays_of_four_thousand_clients(start_server: StartServer) -> None:
    """`connections` and `rooms` are 0 again, and the memory is as after the first thousand."""
    server = start_server(LOG_LEVEL="warning", RECOVERY="false")
    await come_and_go(server, ROUND)
    await expect_health(server, connections=0, rooms=0)
    before = server.rss
    for _ in range(3):
        await come_and_go(server, ROUND)
    await expect_health(server, connections=0, rooms=0)
    growth = server.rss - before
    assert growth < SLACK, f"{growth / 1e6:.1f} MB more"
    assert server.stderr == []
