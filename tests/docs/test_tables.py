"""The tables and drawings of the documents, held against the code."""

import re
import tomllib

from tests.docs.documents import ROOT, blocks, table

from synkora.app.settings import describe
from synkora.collaboration.events import CATALOGUE, Event
from synkora.engine.disconnect import Reason
from synkora.engine.handshake import MESSAGES
from synkora.engine.session import TRANSITIONS, State

DOCS = ROOT / "docs"
_ARROW = re.compile(r"^    (\w+) --> (\w+): (\w+)$", re.MULTILINE)


def test_settings() -> None:
    """The README's table has every variable, with its default and its description, and nothing else."""
    expected = [
        [
            f"`{variable.name}`",
            "required" if variable.default is None else f"`{variable.default}`" if variable.default else "-",
            variable.description,
        ]
        for variable in describe()
    ]
    assert table(ROOT / "README.md", "variable") == expected


def _row(event: Event) -> list[str]:
    sent = (event.whole,) if event.whole else event.fields
    delivered = event.whole or f"{{{', '.join((*event.sender, *event.fields))}}}"
    return [
        f"`{event.name}`",
        f"`{{{', '.join(('projectId', *sent))}}}`",
        f"`{delivered}`",
        "yes" if event.volatile else "no",
        event.logged or "-",
    ]


def test_events() -> None:
    """The table of relayed events is the catalogue."""
    assert table(DOCS / "events.md", "event") == [_row(event) for event in CATALOGUE]


def test_refused_requests() -> None:
    """The table of Engine.IO's errors has each number with its words."""
    rows = [row[:2] for row in table(DOCS / "protocol.md", "code")]
    assert rows == [[str(int(code)), f"`{message}`"] for code, message in MESSAGES.items()]


def test_disconnect_reasons() -> None:
    """The table of reasons has each that a handler can get."""
    rows = table(DOCS / "protocol.md", "reason")
    assert sorted(row[0] for row in rows) == sorted(f"`{reason.value}`" for reason in Reason)


def test_session_states() -> None:
    """The drawing of a session's states has the arrows of its table of transitions, and each state its meaning."""
    drawing = next(block.text for block in blocks(DOCS / "architecture.md", "mermaid") if "stateDiagram" in block.text)
    drawn = {(before, event): after for before, after, event in _ARROW.findall(drawing)}
    assert drawn == {(before.name, event.name): after.name for (before, event), after in TRANSITIONS.items()}
    assert [row[0] for row in table(DOCS / "architecture.md", "state")] == [f"`{state.name}`" for state in State]


def test_layers() -> None:
    """The drawing of the layers has the order that the import rule checks."""
    drawing = next(block.text for block in blocks(DOCS / "architecture.md", "mermaid") if "flowchart" in block.text)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    chain = drawing.partition("TD\n")[2].strip()
    assert [re.findall(r"\w+", level) for level in chain.split(" --> ")] == [re.findall(r"\w+", row) for row in layers]
