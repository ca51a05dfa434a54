"""Renders findings as text and as JSON."""

import io
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.text import Text

from synkora import __version__
from synkora.app.check.finding import Finding, FindingStatus, worst
from synkora.app.logs.text import escaped
from synkora.protocol.json import encode

#: The signs of the log.
SIGNS: Final = {FindingStatus.WELL: "✓", FindingStatus.RISKY: "!", FindingStatus.WRONG: "✗", FindingStatus.SKIPPED: "-"}
_STYLES: Final = {
    FindingStatus.WELL: "green",
    FindingStatus.RISKY: "yellow",
    FindingStatus.WRONG: "bold red",
    FindingStatus.SKIPPED: "dim",
}
_LEAST: Final = 20  # minimum text width in characters


def standard_output() -> Console:
    """The command's output. Characters missing in its encoding become question marks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return Console(file=sys.stdout)


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Write a line for each finding, a line for its advice, and a summary.

    On a terminal the lines are wrapped, and coloured unless NO_COLOR is set. Consecutive checks that were skipped for
    one reason share a line.
    """
    indent = max(len(finding.check) for finding in findings) + len("✓  … ")
    for _, same in groupby(
        findings, lambda finding: finding.message if finding.status is FindingStatus.SKIPPED else finding
    ):
        first, *more = same
        names = f"{first.check} …" if more else first.check
        line = Text.assemble((f"{SIGNS[first.status]} {names}".ljust(indent), _STYLES[first.status]))
        line.append(
            _beside(escaped(first.message), console, indent), "dim" if first.status is FindingStatus.SKIPPED else ""
        )
        if first.advice:
            line.append("\n" + " " * indent + _beside(f"→ {escaped(first.advice)}", console, indent), "bold")
        console.print(line, soft_wrap=True)
    counts = Counter(finding.status for finding in findings)
    told = ", ".join(f"{counts[status]} {status}" for status in reversed(FindingStatus) if counts[status])
    console.print(Text(f"\n{told}", _STYLES[worst(findings)]), soft_wrap=True)


def as_json(findings: Sequence[Finding]) -> str:
    """Return a JSON object: the version, the worst status, and the findings."""
    return encode({"version": __version__, "status": worst(findings), "checks": findings}).decode()


def _beside(text: str, console: Console, indent: int) -> str:
    if not console.is_terminal:
        return text  # not wrapped, for programs that search lines
    width = max(console.width - indent, _LEAST)
    return f"\n{' ' * indent}".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))
