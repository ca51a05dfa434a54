"""Instances that are restarted while clients count what they miss."""

from bench.restart import Load, measure
from bench.servers import prepare_peers, synkora


def test_every_client_moves_and_due_messages_are_counted() -> None:
    said: list[str] = []
    assert prepare_peers({"Node.js"}, said.append), said
    server = synkora()
    server = server.with_variables(SHUTDOWN_DRAIN="0.5")
    counted = measure(server, Load(clients=6, projects=2, pause=0.1), drain=0.5, pause=0)
    assert counted["clients"] == 6
    assert counted["reconnects"] >= 6
    assert counted["failedAttempts"] == 0
    assert 0 < counted["peak"] <= counted["reconnects"]
    assert 0 < counted["medianGap"] <= counted["longestGap"]
    assert counted["due"] > 0
    assert counted["due"] + counted["away"] <= 2 * counted["sent"]
