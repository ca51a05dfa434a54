"""Builds Prometheus metric families (gauges, counters, histograms) from plain numbers."""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from synkora.engine.histogram import Histogram

L = TypeVar("L", bound=str)


def gauge(name: str, words: str, value: float) -> Metric:
    """A number that goes up and down."""
    return GaugeMetricFamily(name, words, value)


def gauges(name: str, words: str, label: str, values: Mapping[str, int]) -> Metric:
    """A gauge for each value of a label."""
    family = GaugeMetricFamily(name, words, labels=(label,))
    for value, number in values.items():
        family.add_metric((value,), number)
    return family


def counter(name: str, words: str, value: float) -> Metric:
    """A number that only grows; its name gets `_total`."""
    return CounterMetricFamily(name, words, value)


def counters(name: str, words: str, label: str, known: Iterable[L], counts: Mapping[L, int]) -> Metric:
    """A counter for each of the `known` values of a label, and for no others."""
    family = CounterMetricFamily(name, words, labels=(label,))
    for value in known:
        family.add_metric((value,), counts.get(value, 0))
    return family


def histogram(name: str, words: str, histogram: Histogram) -> Metric:
    """A histogram with its bounds."""
    bounds = [*map(str, histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
    return HistogramMetricFamily(name, words, buckets=buckets, sum_value=histogram.sum)
