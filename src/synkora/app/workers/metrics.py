"""Merges the metrics of all workers but the leaving ones, each sample with the number of its worker."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.samples import Sample

from synkora.app.workers.siblings import Siblings

TOPIC: Final = "metrics"
LABEL: Final = "worker"


class _Family(msgspec.Struct, array_like=True):
    name: str
    words: str
    type: str
    unit: str
    samples: list[tuple[str, dict[str, str], float]]


class _Answer(msgspec.Struct, array_like=True):
    number: int
    is_leaving: bool
    families: list[_Family]


def answer_metrics(siblings: Siblings, registry: CollectorRegistry) -> None:
    """Answer the questions of other workers with the metrics of this one."""

    def answer() -> bytes:
        families = [
            _Family(
                family.name,
                family.documentation,
                family.type,
                family.unit,
                [(sample.name, dict(sample.labels), sample.value) for sample in family.samples],
            )
            for family in registry.collect()
        ]
        return msgspec.msgpack.encode(_Answer(siblings.seat.number, siblings.is_leaving, families))

    siblings.answer(TOPIC, answer)


class MetricsOfAll:
    """The families of all workers, for the encoders of Prometheus' client library."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield from self._families


async def metrics_of_all(siblings: Siblings) -> MetricsOfAll:
    """Ask all workers. One that leaves is left out, since another has its number."""
    answers: dict[int, _Answer] = {}
    for answered in await siblings.ask(TOPIC):
        try:
            answer = msgspec.msgpack.decode(answered, type=_Answer)
        except ValueError:  # it ended meanwhile
            continue
        if not answer.is_leaving:
            answers[answer.number] = answer
    merged: dict[str, Metric] = {}
    for _, answer in sorted(answers.items()):
        for family in answer.families:
            whole = merged.get(family.name)
            if whole is None:
                whole = merged[family.name] = Metric(family.name, family.words, family.type, family.unit)
            whole.samples += [
                Sample(name, {LABEL: str(answer.number), **labels}, value) for name, labels, value in family.samples
            ]
    up = GaugeMetricFamily("synkora_worker_up", "Whether a worker answers.", labels=(LABEL,))
    for number in range(siblings.seat.count):
        up.add_metric((str(number),), int(number in answers))
    return MetricsOfAll([*merged.values(), up])
