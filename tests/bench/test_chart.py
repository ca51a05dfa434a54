"""The chart of the cost of a relayed cursor."""

from xml.etree import ElementTree as ET

from bench.chart import chart
from bench.figures import Measured
from bench.targets import PER_DELIVERY
from bench.workloads import FLOOR, NODE, SYNKORA, Workload
from tests.bench.sample_runs import RELAY, relays, run_of, sample

SVG = "{http://www.w3.org/2000/svg}"


def drawn(measured: Measured) -> tuple[list[str], list[float]]:
    """The texts of a chart, and the lengths of its bars."""
    root = ET.fromstring(chart(measured))  # noqa: S314  # our own
    texts = [element.text or "" for element in root.iter(f"{SVG}text")]
    return texts, [float(bar.attrib["width"]) for bar in root.iter(f"{SVG}rect") if bar.attrib["height"] == "14"]


def test_it_shows_each_median_and_its_ratio() -> None:
    """Each server of a workload has a bar as long as its median, with the figure beside it."""
    texts, bars = drawn(sample())
    assert texts[-4:] == ["200 in 20 projects, 4 in flight", "5.00", "22.50 · 4.5 ×", "2.50 · 0.5 ×"]
    assert [round(bar / bars[2], 1) for bar in bars] == [2.0, 9.0, 1.0]


def test_it_can_be_heard() -> None:
    root = ET.fromstring(chart(sample()))  # noqa: S314  # our own
    assert root.attrib["aria-labelledby"] == "title desc"
    title, description = (root.findtext(f"{SVG}{name}") or "" for name in ("title", "desc"))
    assert "CPU time" in title
    assert "200 in 20 projects, 4 in flight: synkora 5.00, Node.js 22.50 · 4.5 ×, floor 2.50 · 0.5 ×." in description


def test_unreliable_figures_have_no_bar() -> None:
    faulty = run_of(NODE, **{PER_DELIVERY: 99.0, "lost": 1})
    texts, bars = drawn(Measured([*relays(SYNKORA, 5.0), *relays(FLOOR, 2.5), faulty]))
    assert texts[-3:] == ["5.00", "not to be quoted", "2.50 · 0.5 ×"]
    assert bars[1] == 0


def test_it_has_the_relays_of_cursors_alone() -> None:
    """Other workloads would need another scale."""
    other = Workload("documents", 10, 1, window=1, event="markdown:update", pad=20_000)
    texts, bars = drawn(Measured([*relays(SYNKORA, 5.0), run_of(SYNKORA, other, **{PER_DELIVERY: 500.0})]))
    assert str(RELAY) in texts
    assert len(bars) == 1


def test_nothing_measured_is_an_empty_chart() -> None:
    """It has a title and is still a valid image."""
    assert drawn(Measured([]))[1] == []
