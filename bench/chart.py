"""What relaying a cursor costs, as a chart: an SVG for light and for dark pages."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from bench.figures import Measured
from bench.targets import FIGURES, PER_DELIVERY
from bench.workloads import BUN, CURSOR, FLOOR, NODE, PYTHON_SOCKETIO, SYNKORA, Workload

TITLE = "CPU time of the server for each cursor that a client gets"
_SUBTITLE = "microseconds, less is better; behind it, how many times as much as synkora"
_SERVERS = {
    SYNKORA: ("ours", "synkora"),
    NODE: ("node", "socket.io on Node.js"),
    BUN: ("bun", "socket.io on Bun"),
    PYTHON_SOCKETIO: ("python", "python-socketio"),
    FLOOR: ("floor", "the floor, in C"),
}
_WIDTH, _TOP, _LEFT = 860, 88, 240  # pixels, as all that follows
_LONGEST = 480  # of a bar; right of it is its figure
_BAR, _STEP, _GAP = 14, 19, 16
_STYLE = """
  text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 }
  .quiet { fill: #59636e }
  .strong { font-weight: 600 }
  .axis { stroke: #d1d9e0 }
  .ours { fill: #0969da } .node { fill: #bf8700 } .bun { fill: #cf222e }
  .python { fill: #8250df } .floor { fill: #818b98 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .axis { stroke: #3d444d }
    .ours { fill: #4493f8 } .node { fill: #d29922 } .bun { fill: #f85149 }
    .python { fill: #ab7df8 } .floor { fill: #656c76 }
  }
"""


@dataclass(frozen=True)
class _Bar:
    server: str
    cost: float | None
    ratio: float | None

    @property
    def told(self) -> str:
        if self.cost is None:
            return "not to be quoted"
        cost = FIGURES[PER_DELIVERY].written(self.cost)
        return cost if self.ratio is None else f"{cost} · {self.ratio:.1f} ×"


def chart(measured: Measured) -> str:
    """The chart of the relays that were measured; what may not be quoted has no bar."""
    groups = {
        str(workload): list(_bars(measured, workload))
        for workload in measured.workloads
        if workload.window and (workload.event, workload.transport, workload.instances) == (CURSOR, "websocket", 1)
    }
    bars = [bar for group in groups.values() for bar in group]
    scale = _LONGEST / max((bar.cost for bar in bars if bar.cost), default=1)
    drawn: list[str] = []
    y = _TOP
    for name, group in groups.items():
        drawn += _group(name, group, y, scale)
        y += len(group) * _STEP + _GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" role="img" aria-labelledby="title desc">',
        f'<title id="title">{TITLE}</title>',
        f'<desc id="desc">{escape(_described(groups))}</desc>',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="0" y="20">{TITLE}</text>',
        f'<text class="quiet" x="0" y="42">{_SUBTITLE}</text>',
        *_legend({bar.server for bar in bars}),
        *drawn,
        f'<line class="axis" x1="{_LEFT}" y1="{_TOP - 6}" x2="{_LEFT}" y2="{y - _GAP}"/>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _bars(measured: Measured, workload: Workload) -> Iterator[_Bar]:
    for server in _SERVERS:
        if measured.was_run(workload, server):
            quote = measured.quote(workload.name, server, PER_DELIVERY)
            ratio = None if server == SYNKORA else measured.ratio(workload.name, server, PER_DELIVERY)
            yield _Bar(server, None if quote is None else quote.middle, ratio)


def _group(name: str, bars: list[_Bar], top: int, scale: float) -> Iterator[str]:
    middle = top + (len(bars) * _STEP - _STEP + _BAR) / 2 + 4
    yield f'<text x="{_LEFT - 12}" y="{middle:g}" text-anchor="end">{escape(name)}</text>'
    for y, bar in enumerate(bars):
        length = max(scale * bar.cost, 1) if bar.cost is not None else 0
        at, weight = top + y * _STEP, "strong" if bar.server == SYNKORA else "quiet"
        colour, _ = _SERVERS[bar.server]
        yield f'<rect class="{colour}" x="{_LEFT}" y="{at}" width="{length:.1f}" height="{_BAR}"/>'
        yield f'<text class="{weight}" x="{_LEFT + length + 8:.1f}" y="{at + _BAR - 3}">{bar.told}</text>'


def _legend(present: set[str]) -> Iterator[str]:
    x = 0
    for server, (colour, name) in _SERVERS.items():
        if server in present:
            yield f'<rect class="{colour}" x="{x}" y="57" width="12" height="12"/>'
            yield f'<text x="{x + 18}" y="68">{name}</text>'
            x += 46 + 7 * len(name)


def _described(groups: dict[str, list[_Bar]]) -> str:
    told = (f"{name}: {', '.join(f'{bar.server} {bar.told}' for bar in bars)}." for name, bars in groups.items())
    return " ".join(told)
