"""The figures as a table for the terminal, and as Markdown."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.figures import Measured, Verdict
from bench.targets import FIGURES, JOIN, MEMORY, PER_DELIVERY
from bench.workloads import NODE, SYNKORA, Workload
from rich.table import Table
from rich.text import Text

UNQUOTABLE = "not to be quoted"
#: The rows of the README: what each says, its workload and its figure.
SUMMARY = (
    ("µs to deliver a cursor to one client, 20 busy projects of 10 users", "relay-200", PER_DELIVERY),
    ("µs, the same with one cursor at a time in each project", "relay-200-single", PER_DELIVERY),
    ("kB of an idle client", "idle", MEMORY),
    ("ms for 1,000 users to join one project", "joining", JOIN),
)


@dataclass(frozen=True)
class Cell:
    """A server's figure: its median and its ratio to synkora's, and the spread of its rounds."""

    middle: str
    spread: str = ""


@dataclass(frozen=True)
class Line:
    """A figure under a workload, of every server, and the verdicts on its targets."""

    workload: str
    unit: str
    cells: tuple[Cell, ...]
    verdicts: tuple[Verdict, ...]


def lines(measured: Measured) -> Iterator[Line]:
    """A line for each figure that some workload is quoted for."""
    for workload in measured.workloads:
        for figure in workload.figures:
            cells = tuple(_cell(measured, workload, server, figure) for server in measured.servers)
            verdicts = (measured.verdict(workload, target) for target in workload.targets if target.figure == figure)
            yield Line(str(workload), FIGURES[figure].unit, cells, tuple(verdicts))


def table(measured: Measured) -> Table:
    """The table for the terminal."""
    shown = Table("Workload", "Figure", title="Medians; below them the lowest and the highest run", show_lines=True)
    for server in measured.servers:
        shown.add_column(server, justify="right")
    shown.add_column("Target")
    previous = None
    for line in lines(measured):
        cells = [
            Text(cell.middle, "red" if cell.middle == UNQUOTABLE else "").append(f"\n{cell.spread}", "dim")
            for cell in line.cells
        ]
        name, previous = line.workload if line.workload != previous else "", line.workload
        targets = Text("\n").join(Text(_told(verdict), _COLOURS[verdict.met]) for verdict in line.verdicts)
        shown.add_row(name, line.unit, *cells, targets)
    return shown


def markdown(measured: Measured) -> str:
    """The same as a table of Markdown."""
    heads = ["Workload", "Figure", *measured.servers, "Target"]
    rules = ["---", "---", *["---:" for _ in measured.servers], "---"]
    rows = [heads, rules]
    previous = None
    for line in lines(measured):
        cells = (f"{cell.middle} ({cell.spread})" if cell.spread else cell.middle for cell in line.cells)
        name, previous = line.workload if line.workload != previous else "", line.workload
        rows.append([name, line.unit, *cells, "; ".join(map(_told, line.verdicts))])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def summary(measured: Measured) -> str:
    """The README's table: a few figures beside Node.js', as Markdown."""
    rows = [["CPU time or memory", "this server", "Node.js", "ratio"], ["---", "---:", "---:", "---:"]]
    for words, workload, figure in SUMMARY:
        quotes = (measured.quote(workload, server, figure) for server in (SYNKORA, NODE))
        ratio = measured.ratio(workload, NODE, figure)
        cells = [FIGURES[figure].written(quote.middle) if quote else UNQUOTABLE for quote in quotes]
        rows.append([words, *cells, f"**{ratio:.1f} ×**" if ratio is not None else "-"])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


_COLOURS = {True: "green", False: "red", None: "dim"}


def _cell(measured: Measured, workload: Workload, server: str, figure: str) -> Cell:
    if not measured.was_run(workload, server):
        return Cell("")
    quote = measured.quote(workload.name, server, figure)
    if quote is None:
        return Cell(UNQUOTABLE)
    written = FIGURES[figure].written
    ratio = None if server == SYNKORA else measured.ratio(workload.name, server, figure)
    middle = written(quote.middle) + (f" · {ratio:.1f} ×" if ratio is not None else "")
    return Cell(middle, f"{written(quote.lowest)} to {written(quote.highest)}")


def _told(verdict: Verdict) -> str:
    mark = {True: "✓", False: "✗ missed:", None: "not measured:"}[verdict.met]
    # The ratios that have to be high stand beside the other server's figure.
    shown = verdict.part is not None and verdict.target.at_most > 1
    return f"{mark} {verdict.target}" + (f", is {verdict.part:.2f}" if shown else "")
