"""Findings as text and as JSON."""

import io
import json

from rich.console import Console

from synkora.app.check.finding import risky, skipped, well, wrong
from synkora.app.check.rendering import as_json, print_findings

FINDINGS = [
    well("origins", "only pages of [http://[::1]:3000] may connect"),
    skipped("redis", "it is not set"),
    skipped("redis-clock", "it is not set"),
    skipped("database", "it is not used"),
    risky("files", "few", "Allow more"),
    wrong("app", "gone", "Start it"),
    wrong("app", "gone", "Correct it"),
]


def written(width: int, *, terminal: bool) -> str:
    text = io.StringIO()
    print_findings(FINDINGS, Console(file=text, width=width, force_terminal=terminal, no_color=True))
    return text.getvalue()


def test_lines() -> None:
    """One line per finding with its advice below, one line for checks skipped for the same reason, and the counts."""
    assert written(20, terminal=False).splitlines() == [
        "✓ origins       only pages of [http://[::1]:3000] may connect",
        "- redis …       it is not set",
        "- database      it is not used",
        "! files         few",
        "                → Allow more",
        "✗ app           gone",
        "                → Start it",
        "✗ app           gone",
        "                → Correct it",
        "",
        "2 wrong, 1 risky, 1 well, 3 skipped",
    ]


def test_answers_of_others_cannot_move_the_cursor() -> None:
    """A message may have the words of Redis, of a database, or of a certificate."""
    text = io.StringIO()
    print_findings([wrong("redis", "\x1b[2Jgone\x9b1A", "\x1b]0;x\x07")], Console(file=text, width=80))
    assert "\x1b" not in text.getvalue()
    assert "\x9b" not in text.getvalue()
    assert r"\x1b[2Jgone\x9b1A" in text.getvalue()


def test_a_terminal() -> None:
    """Long lines are wrapped at spaces beside the names."""
    lines = written(45, terminal=True).splitlines()
    shown = [line.replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[2m", "") for line in lines]
    assert shown[:2] == ["✓ origins       only pages of", "                [http://[::1]:3000] may"]


def test_json() -> None:
    """One object with the version, the worst status, and findings with fixed keys."""
    report = json.loads(as_json(FINDINGS))
    assert report.keys() == {"version", "status", "checks"}
    assert report["status"] == "wrong"
    assert report["checks"][0] == {
        "check": "origins",
        "status": "well",
        "message": "only pages of [http://[::1]:3000] may connect",
        "advice": "",
    }
    assert len(report["checks"]) == len(FINDINGS)
