"""Samples: their contents, their number, and which are returned."""

import asyncio
import json
from typing import Any

import psutil
import pytest
from tests.collaboration.site import Site, turn
from tests.support.servers import until

from synkora.app.console.sampling import Sample, Sampler, sample_of
from synkora.app.instance import Instance
from synkora.engine.incidents import IncidentKind, Limit
from synkora.protocol.json import encode
from synkora.serving.memory import resident_memory

HEAD = 2  # bytes of a small WebSocket frame's head (RFC 6455 section 5.2)


def instance_of(site: Site) -> Instance:
    return Instance(site.server, site.collaboration)


def taken(site: Site) -> dict[str, Any]:
    sample: dict[str, Any] = json.loads(encode(sample_of(instance_of(site))))
    return sample


async def test_a_sample_counts_the_clients_actions() -> None:
    site = Site()
    alice, _, bob = await site.meet("Alice", "Alice", "Bob", project="p1")
    alice.emit("task:create", {"projectId": "p1", "task": 1})
    alice.emit("unheard-of")
    alice.emit("canvas:cursor", {"projectId": "p2"})
    await turn()
    bob.transport.writable = False
    alice.emit("task:create", {"projectId": "p1", "task": 2})
    await turn()
    sample = taken(site)
    assert sample["connections"] == {"websocket": 3, "polling": 0}
    assert (sample["signedIn"], sample["users"], sample["projects"]) == (3, 2, 1)
    assert sample["events"] == {"join-project": 3, "task:create": 2, "canvas:cursor": 1, "other": 1}
    assert sample["refused"] == 2
    assert sample["waiting"] == {"clients": 1, "bytes": HEAD + len('42["task:create",2]')}
    flusher = site.server._registry.flusher
    assert (sample["deliveries"], sample["bytesIn"], sample["bytesOut"]) == (
        flusher.deliveries,
        flusher.bytes_in,
        flusher.bytes_out,
    )
    assert (sample["dropped"], sample["cutOff"], sample["redis"]) == (0, 0, None)
    assert sample["cpu"] > 0


async def test_trouble_is_in_a_sample() -> None:
    """Incidents by kind, and exceeded limits by limit."""
    site = Site()
    site.server.incidents.note(IncidentKind.ORIGIN_REFUSED, "https://evil.example")
    site.server.incidents.note_limit(Limit.EDIT_EVENTS)
    sample = taken(site)
    assert sample["incidents"] == {"origin refused": 1, "limit hit": 1}
    assert sample["limits"] == {"edit events": 1}


def test_memory_is_that_of_this_process() -> None:
    assert resident_memory() == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)


async def test_samples_are_taken_kept_and_forgotten() -> None:
    """The first immediately, then at intervals. Samples are kept for a fixed time."""
    instance = instance_of(Site())
    with Sampler(lambda: sample_of(instance), interval=0.01, keeps=0.05) as sampler:
        assert len(sampler.after(0)) == 1
        (first,) = [json.loads(bytes(sample)) for sample in sampler.after(0)]
        await until(lambda: len(sampler.after(first["at"])) == 5)
        times = [json.loads(bytes(sample))["at"] for sample in sampler.after(0)]
        assert times == sorted(times)
        assert len(times) == 5
        assert [json.loads(bytes(sample))["at"] for sample in sampler.after(times[2])][:2] == times[3:5]
    kept = sampler.after(0)
    await asyncio.sleep(0.05)
    assert sampler.after(0) == kept


async def test_a_sample_that_fails_is_not_the_last() -> None:
    instance, times = instance_of(Site()), 0

    def take() -> Sample:
        nonlocal times
        times += 1
        if times == 2:
            raise RuntimeError("a fault")
        return sample_of(instance)

    loop = asyncio.get_running_loop()
    faults: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))
    with Sampler(take, interval=0.01) as sampler:
        await until(lambda: len(sampler.after(0)) >= 2)
    assert len(faults) == 1
