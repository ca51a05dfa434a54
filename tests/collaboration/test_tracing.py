"""Which events of members are traced."""

from typing import Any

from tests.collaboration.site import MemoryClient, Site, turn

from synkora.collaboration.events import CATALOGUE, Event
from synkora.recovery.settings import RecoverySettings
from synkora.tracing import NO_TRACE, Source, Trace, Tracer


class WatchedTracer(Tracer):
    def __init__(self, traceparent: str = "") -> None:
        self.parts: list[tuple[Any, ...]] = []
        self._traceparent = traceparent

    def publish(self, source: Source, event: str, project: str, traceparent: str = "", events: int = 1) -> Trace:
        self.parts.append(("publish", source, event, project, traceparent))
        return Trace(self._traceparent) if self._traceparent else NO_TRACE

    def append(self, published: Trace, event: str, room: str, size: int) -> Trace:
        self.parts.append(("append", event, room))
        return published

    def deliver(self, traceparent: str, event: str, room: str, receivers: int) -> Trace:
        self.parts.append(("deliver", traceparent, event, room, receivers))
        return NO_TRACE


async def visit(tracer: Tracer, *, recovery: bool = True) -> tuple[Site, list[MemoryClient]]:
    site = Site(recovery=RecoverySettings() if recovery else False, tracer=tracer)
    return site, await site.meet("Alice", "Bob", "Carol", project="p")


def emit(client: MemoryClient, event: Event) -> None:
    client.emit(event.name, {"projectId": "p", "traceparent": "forged", **event.example})


async def test_edits_are_traced_and_nothing_else() -> None:
    """Neither volatile events, nor what the server itself sends, such as notices and lists."""
    tracer = WatchedTracer("a trace")
    site, (alice, bob, _) = await visit(tracer)
    for event in CATALOGUE:
        emit(alice, event)
    bob.emit("leave-project", "p")
    site.collaboration.post_notice("p", "Back soon")
    await turn()
    edits = [event.name for event in CATALOGUE if not event.volatile]
    assert [part for part in tracer.parts if part[0] == "publish"] == [
        ("publish", "client", name, "p", "") for name in edits
    ]
    assert [part for part in tracer.parts if part[0] == "append"] == [("append", name, "p") for name in edits]
    assert [part for part in tracer.parts if part[0] == "deliver"] == [
        ("deliver", "a trace", name, "p", 2) for name in edits
    ]


async def test_what_is_not_sampled_has_one_part() -> None:
    tracer = WatchedTracer()
    _, (alice, bob, _) = await visit(tracer)
    emit(alice, CATALOGUE[0])
    await turn()
    assert len(bob.take_events()) == 1
    assert [part[0] for part in tracer.parts] == ["publish"]


async def test_without_recovery_edits_are_not_traced() -> None:
    tracer = WatchedTracer("a trace")
    _, (alice, bob, _) = await visit(tracer, recovery=False)
    emit(alice, CATALOGUE[0])
    await turn()
    assert len(bob.take_events()) == 1
    assert tracer.parts == []
