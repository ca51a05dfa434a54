"""Questions between the workers of one parent, over real Unix sockets."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from starlette.applications import Starlette

from synkora.app.metrics.page import metrics_route
from synkora.app.workers import health as health_module
from synkora.app.workers import siblings
from synkora.app.workers.client_count import ClientCounts, SharedClientCount
from synkora.app.workers.health import WorkerHealth, health_of_all, shared_health
from synkora.app.workers.metrics import answer_metrics, metrics_of_all
from synkora.app.workers.seat import Seat
from synkora.app.workers.siblings import Siblings


def seat_of(folder: Path, number: int) -> Seat:
    return Seat(
        number=number,
        slot=number,
        count=2,
        folder=str(folder),
        control=0,
        listening=[],
        started_at=time.time() - 5,
        may_drain=False,
    )


class Named(Siblings):
    """One of several in this process, whose id would give all the same name."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(seat_of(folder, number))
        self._own = folder / f"{number}-0.ask"


@pytest_asyncio.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Siblings, Siblings]]:
    first, second = Named(tmp_path, 0), Named(tmp_path, 1)
    first.answer("word", lambda: b"one")
    second.answer("word", lambda: b"two")
    await first.start()
    await second.start()
    yield first, second
    first.stop()
    second.stop()


async def test_all_answer(both: tuple[Siblings, Siblings]) -> None:
    """The asker is the first, and needs no socket for it."""
    first, second = both
    assert await first.ask("word") == [b"one", b"two"]
    assert await second.ask("word") == [b"two", b"one"]
    assert 5 <= first.uptime < 60


async def test_a_topic_that_another_does_not_know_has_no_answer(both: tuple[Siblings, Siblings]) -> None:
    """As one of another version would not."""
    first, _ = both
    first.answer("new", lambda: b"mine")
    assert await first.ask("new") == [b"mine"]


async def test_a_worker_that_has_ended_does_not_answer(both: tuple[Siblings, Siblings], tmp_path: Path) -> None:
    """Also if it was killed, and its socket is left."""
    first, second = both
    second.stop()
    assert await first.ask("word") == [b"one"]
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(str(tmp_path / "7-7.ask"))
    assert await first.ask("word") == [b"one"]


async def test_a_worker_that_is_silent_does_not_hold_up_the_others(
    both: tuple[Siblings, Siblings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is left out after a while."""
    monkeypatch.setattr(siblings, "WITHIN", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "7-7.ask"))
        silent.listen()
        assert await both[0].ask("word") == [b"one", b"two"]


def answering(both: tuple[Siblings, Siblings]) -> list[int]:
    """Let each worker answer for its health, and return the numbers of those that are asked."""
    asked: list[int] = []

    def answer(number: int) -> bytes:
        asked.append(number)
        return msgspec.msgpack.encode(WorkerHealth(number, False, "healthy", None, len(asked), []))

    for number, each in enumerate(both):
        each.answer("health", partial(answer, number))
    return asked


async def test_simultaneous_requests_share_one_health(both: tuple[Siblings, Siblings]) -> None:
    """Strangers may ask for it without end, and the names of all projects are read for it. A later one is new."""
    asked = answering(both)
    health = shared_health(both[0])
    assert {whole.status for whole in await asyncio.gather(*(health() for _ in range(50)))} == {"healthy"}
    assert sorted(asked) == [0, 1]
    assert (await health()).connections == 3 + 4


async def test_all_workers_are_asked_for_their_health_with_pauses(
    both: tuple[Siblings, Siblings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests one after the other would cost each worker as much as simultaneous ones."""
    asked = answering(both)
    monkeypatch.setattr(health_module, "PAUSE", 3600)
    health = shared_health(both[0])
    await health()
    waiting = [asyncio.ensure_future(health()) for _ in range(3)]
    for _ in range(20):
        await both[0].ask("word")
    assert sorted(asked) == [0, 1]
    assert not any(each.done() for each in waiting)
    for request in waiting:
        request.cancel()


async def test_simultaneous_requests_get_one_page_of_metrics(both: tuple[Siblings, Siblings]) -> None:
    first, second = both
    made: list[str] = []

    class Looks(Collector):
        def collect(self) -> Iterator[Metric]:
            made.append("page")
            yield Metric("looks", "Looks.", "gauge")

    app = Starlette(routes=[metrics_route(Looks(), None, first)])
    second.answer("metrics", lambda: b"")
    made.clear()  # the registration looks, too
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        pages = await asyncio.gather(*(http.get("/metrics") for _ in range(50)))
    assert {page.status_code for page in pages} == {200}
    assert made == ["page"]


@pytest.mark.parametrize("answer", [b"", b"\x93\x01\xc2\x91\x95\xa1\xff"], ids=["ended", "not UTF-8"])
async def test_an_unreadable_answer_is_left_out(both: tuple[Siblings, Siblings], answer: bytes) -> None:
    """The other worker counts as missing."""
    first, second = both
    answer_metrics(first, CollectorRegistry())
    second.answer("metrics", lambda: answer)
    page = generate_latest(await metrics_of_all(first)).decode()
    assert 'synkora_worker_up{worker="0"} 1.0' in page
    assert 'synkora_worker_up{worker="1"} 0.0' in page
    first.answer("health", lambda: msgspec.msgpack.encode(WorkerHealth(0, False, "healthy", None, 0, [])))
    second.answer("health", lambda: b"\x81\xa6status\xa1\xff" if answer else b"")
    assert (await health_of_all(first)).reason == "worker 1 of 2 missing"


async def test_metrics_of_all_are_one_page(both: tuple[Siblings, Siblings]) -> None:
    """Each family once, with each worker's samples. One that leaves is left out, since another has its number."""
    for each in both:
        registry = CollectorRegistry()
        Gauge("clients", "Clients.", registry=registry).set(each.seat.number + 3)
        Counter("events", "Events.", ["event"], registry=registry).labels("ping").inc()
        answer_metrics(each, registry)
    page = generate_latest(await metrics_of_all(both[0])).decode()
    assert page.count("# TYPE clients gauge") == 1
    samples = {
        (sample.name, sample.labels["worker"], sample.labels.get("event")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    assert samples == {
        ("clients", "0", None): 3,
        ("clients", "1", None): 4,
        ("events_total", "0", "ping"): 1,
        ("events_total", "1", "ping"): 1,
        ("synkora_worker_up", "0", None): 1,
        ("synkora_worker_up", "1", None): 1,
    }
    both[1].is_leaving = True
    page = generate_latest(await metrics_of_all(both[0])).decode()
    assert 'clients{worker="1"}' not in page
    assert 'synkora_worker_up{worker="1"} 0.0' in page


def test_clients_are_counted_over_all_slots(tmp_path: Path) -> None:
    """Each process counts its own; all see the sum."""
    counts = ClientCounts.create(tmp_path, 4)
    first, second = (SharedClientCount(ClientCounts(tmp_path), slot) for slot in (0, 3))
    for _ in range(3):
        first.add("")
    second.add("")
    second.add("")
    second.remove("")
    assert (first.total(""), second.total(""), sum(counts.slots)) == (4, 4, 4)
    counts.slots[0] = 0  # the parent forgets one that was killed
    assert second.total("") == 1
