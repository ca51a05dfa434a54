"""The workloads, by the real load generator."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bench.servers import Server, floor, node, prepare_peers, synkora
from bench.targets import CONNECT, IDLE_CPU, JOIN, LEAVE, MEMORY, ON_THE_WIRE, PEAK, PER_DELIVERY, REDIS_CPU, SPARE_CPU
from bench.workloads import CannotMeasure, Workload, measure

BUSY = Workload("busy", 200, 20, window=4, seconds=1)
IDLE = Workload("idle", 50, 5, seconds=0.1)
DOCUMENTS = Workload("documents", 20, 2, window=1, event="markdown:update", pad=20_000, seconds=0.3)


@pytest.mark.parametrize("name", ["synkora", "floor"])
def test_a_server_under_load_loses_nothing(folder: Path, name: str) -> None:
    """200 clients in 20 projects get every message, and none is disconnected."""
    server = synkora() if name == "synkora" else floor(folder / "floor")
    figures = measure(server, BUSY, folder)
    assert figures["clients"] == 200
    assert figures["sent"] >= BUSY.projects * BUSY.window
    assert (figures["lost"], figures["closed"]) == (0, 0)
    assert figures["delivered"] == figures["sent"] * 9


@pytest.mark.parametrize(
    ("workload", "quoted"),
    [
        (DOCUMENTS, (PER_DELIVERY,)),
        (replace(DOCUMENTS, transport="polling"), (PER_DELIVERY,)),
        (replace(DOCUMENTS, compressed=True), (PER_DELIVERY, ON_THE_WIRE)),
        (replace(DOCUMENTS, window=0, rate=20, senders=1, stuck=2), (PER_DELIVERY, PEAK)),
        (replace(IDLE, storm=True), (JOIN, LEAVE)),
        (IDLE, (CONNECT, MEMORY, IDLE_CPU)),
    ],
    ids=str,
)
def test_each_kind_of_workload_has_its_figures(folder: Path, workload: Workload, quoted: tuple[str, ...]) -> None:
    """The load generator understands each workload, loses nothing, and has the quoted figures."""
    figures = measure(synkora(compression=workload.compressed), workload, folder)
    assert (figures["lost"], figures["closed"]) == (0, 0)
    assert bool(figures["delivered"]) == workload.sends
    assert all(figures[name] is not None for name in quoted)


@pytest.mark.parametrize("make", [synkora, node])
def test_instances_are_one_server(folder: Path, make: Callable[[], Server]) -> None:
    """Events on one instance reach members on the other. The costs of Redis and of a spare instance are separate."""
    said: list[str] = []
    assert make is synkora or prepare_peers(["Node.js"], said.append), said
    figures = measure(make(), Workload("joined", 40, 4, rate=5, instances=2, spare=True, seconds=1), folder)
    assert (figures["lost"], figures["closed"]) == (0, 0)
    assert figures["delivered"] == figures["sent"] * 9 > 0
    assert all(figures[name] is not None for name in (PER_DELIVERY, REDIS_CPU, SPARE_CPU))


def test_a_refused_client_is_told(folder: Path, tmp_path: Path) -> None:
    """If the server refuses the tokens, nothing is measured, and the load generator's message says why."""
    (tmp_path / "load").symlink_to(folder / "load")
    (tmp_path / "tokens.txt").write_text("not.a.token\n")
    with pytest.raises(CannotMeasure, match=r"load, against synkora: refused: .*Authentication failed"):
        measure(synkora(), IDLE, tmp_path)


@pytest.mark.parametrize("text", ["", "10", "10/2", "10/3/1", "0/1/1", "10/0/1", "10/2/-1", "10/10/1", "a/b/c"])
def test_an_invalid_workload_is_refused(text: str) -> None:
    """Clients are distributed evenly, and each has recipients, so that the number of deliveries is known."""
    with pytest.raises(ValueError):  # noqa: PT011  # the command line words it
        Workload.parse(text)


@pytest.mark.parametrize(
    ("workload", "told"),
    [
        (Workload.parse("50/1/4"), "50 in 1 project, 4 in flight"),
        (Workload.parse("8000/800/0"), "8,000 in 800 projects, idle"),
        (Workload("steady", 500, 100, rate=10), "500 in 100 projects, 10 a second each"),
        (Workload("polling", 20, 2, window=1, transport="polling"), "20 in 2 projects, 1 in flight, over polling"),
        (replace(DOCUMENTS, compressed=True), "20 in 2 projects, markdown:update of 20 kB, 1 in flight, compressed"),
        (Workload("slow", 20, 2, rate=5, senders=1, stuck=2), "20 in 2 projects, 5 a second in each, 2 of them stuck"),
        (Workload("storm", 1000, 1, storm=True), "1,000 joining 1 project and leaving"),
        (Workload("joined", 20, 2, window=1, instances=2), "20 in 2 projects, on 2 instances, 1 in flight"),
        (
            Workload("spare", 20, 2, rate=5, instances=2, spare=True),
            "20 in 2 projects, on 2 of 3 instances, 5 a second each",
        ),
        (Workload("connect", 2000, 200, figures=(CONNECT,)), "2,000 in 200 projects, connecting"),
    ],
    ids=str,
)
def test_workloads_are_named_by_their_traffic(workload: Workload, told: str) -> None:
    assert str(workload) == told
