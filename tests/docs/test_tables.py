"""The tables and drawings of the documents agree with the code."""

import re
import runpy
import tomllib
from collections.abc import Mapping
from enum import Enum
from typing import Final

import pytest
from tests.docs.documents import ROOT, blocks, table

from synkora.app.settings.variables import describe
from synkora.cluster.project_sync import TRANSITIONS as SYNC_TRANSITIONS
from synkora.cluster.project_sync import SyncState
from synkora.collaboration.access import MAX_CACHED, MAX_WAITING_PER_USER
from synkora.collaboration.events import CATALOGUE, MAX_PROJECT_ID
from synkora.collaboration.kept_sessions import MAX_LOOKUPS
from synkora.collaboration.keyed_limit import MAX_PER_KEY, MAX_WAITING_PER_KEY
from synkora.collaboration.token_expiry import MOST_DELAYED
from synkora.engine import backlog
from synkora.engine.close_reasons import Reason
from synkora.engine.handshake import MESSAGES
from synkora.engine.message import MOST_CACHED, SMALL_FORM
from synkora.engine.outbox import STRANGERS_BYTES, STRANGERS_MESSAGES
from synkora.engine.registry import COMPLETION, LAST_LINGER, LINGER
from synkora.engine.session import MAX_CONTROL, OVERHEAD_BURST, OVERHEAD_BYTES, OVERHEAD_RATE, TRANSITIONS, State
from synkora.engine.transports.fragments import SMALL
from synkora.engine.transports.websocket import CLOSING_TIME
from synkora.engine.unfinished import MOST_UNFINISHED, STRANGERS_FREE
from synkora.identity.tokens import MAX_TOKEN_LENGTH
from synkora.identity.user import MAX_ID_LENGTH, MAX_IMAGE_BYTES, MAX_NAME_BYTES, MAX_NAME_LENGTH
from synkora.protocol.engineio import MAX_PACKETS
from synkora.protocol.socketio import MAX_ATTACHMENTS, MAX_DEPTH
from synkora.serving.http_limits import BODY_TIME, HEAD_TIME, MAX_HEAD, MAX_HEADERS, READ_LEAST, READ_TIME
from synkora.serving.http_pipelining import (
    HEADER_MEMORY,
    MAX_WAITING,
    MAX_WAITING_SIZE,
    REQUEST_MEMORY,
    TARGET_MEMORY,
)
from synkora.serving.server import TLS_TIME
from synkora.serving.tls_records import MOST_UNUSED
from synkora.sockets.acks import MAX_UNANSWERED
from synkora.sockets.client import MAX_EARLY, MAX_NAMESPACES, MAX_REFUSED_NAME
from synkora.sockets.namespace import MAX_NAME

DOCS = ROOT / "docs"
_ARROW = re.compile(r"^    (\w+) --> (\w+): (\w+)$", re.MULTILINE)
_NUMBER = re.compile(r"\d[\d,]*")
#: The rows of the table of bounds whose numbers are those of constants; the others name a setting, or have no number.
BOUNDS: Final = {
    "head of a request": {MAX_HEAD, MAX_HEADERS, 431, HEAD_TIME, 408},
    "requests of a connection behind an unanswered one (pipelining)": {
        MAX_WAITING,
        MAX_WAITING_SIZE,
        REQUEST_MEMORY,
        HEADER_MEMORY,
        TARGET_MEMORY,
    },
    "body of a request": {413, BODY_TIME, 408},
    "answer to a slow reader": {READ_LEAST, READ_TIME},
    "unread answer to the last poll of a session that has ended, has left all namespaces, or has upgraded": {
        CLOSING_TIME,
        READ_LEAST,
    },
    "TLS handshake": {TLS_TIME, MOST_UNUSED},
    "message before CONNECT is answered": {MAX_EARLY},
    "CONNECT": {MAX_EARLY},
    "refusals of `auth:refresh` that are delayed, for one user": {MOST_DELAYED},
    "questions about one user to the app or the database": {MAX_PER_KEY, MAX_WAITING_PER_USER},
    "session keys of one address that are looked up": {MAX_PER_KEY, MAX_WAITING_PER_KEY, MAX_LOOKUPS},
    "large wire forms of messages, such as parts of polls and base64, that are cached": {SMALL_FORM, MOST_CACHED},
    "nesting of a binary event": {MAX_DEPTH},
    "messages that wait for one user, over all connections from the fifth on": {
        backlog.MOST_OF_USER,
        backlog.FULL_OF_USER,
        backlog.FREE_BYTES_OF_USER,
    },
    "large frame, fragments of a message": {COMPLETION},
    "unfinished messages of one user, over all connections from the fifth on": {MOST_UNFINISHED},
    "unfinished messages of one address, before the sign-in, and heads of requests": {
        MOST_UNFINISHED,
        STRANGERS_FREE,
        HEADER_MEMORY,
    },
    "backlog of a client that has not signed in, or has left all namespaces": {STRANGERS_MESSAGES, STRANGERS_BYTES},
    "backlogs of all clients of one address that have not signed in": {
        backlog.MOST_OF_STRANGERS,
        backlog.MOST_BYTES_OF_STRANGERS,
        backlog.STRANGERS_FREE_MESSAGES,
        backlog.STRANGERS_FREE_BYTES,
    },
    "namespaces of a connection": {MAX_NAMESPACES, MAX_NAME, MAX_REFUSED_NAME},
    "packets without use": {OVERHEAD_RATE, OVERHEAD_BURST, OVERHEAD_BYTES, SMALL},
    "Engine.IO packet that is not a message": {MAX_CONTROL},
    "attachments of a message": {MAX_ATTACHMENTS, COMPLETION},
    "unanswered acks of a client": {MAX_UNANSWERED},
    "session that has ended and is not polled": {LINGER, LAST_LINGER},
    "answer to a close frame": {CLOSING_TIME},
    "project id, user id": {MAX_PROJECT_ID, MAX_ID_LENGTH},
    "name, image address": {MAX_NAME_LENGTH, MAX_NAME_BYTES, MAX_IMAGE_BYTES},
    "token": {MAX_TOKEN_LENGTH},
    "cached answers about access": {MAX_CACHED},
}
#: The rows that name one setting, and its default.
SET: Final = (
    "message",
    "time to sign in, and to connect again after a client has left all namespaces",
    "time to upgrade",
    "backlog of a slow consumer",
)


def test_api_reference() -> None:
    """It has every public name with the current signature and docstring."""
    script = runpy.run_path(str(DOCS / "site" / "api.py"))
    assert script["page"]() == (DOCS / "api.md").read_text(encoding="utf-8"), "run: .venv/bin/python docs/site/api.py"


def test_modules() -> None:
    """The list of modules is the script's output from their docstrings."""
    script = runpy.run_path(str(DOCS / "site" / "modules.py"))
    assert script["modules"]() == (DOCS / "modules.md").read_text(encoding="utf-8"), (
        "run: .venv/bin/python docs/site/modules.py"
    )


def test_events() -> None:
    """The tables of events are the script's output from the catalogue."""
    script = runpy.run_path(str(DOCS / "site" / "events.py"))
    text = (DOCS / "events.md").read_text(encoding="utf-8")
    assert script["page"](text) == text, "run: .venv/bin/python docs/site/events.py"
    assert all(f"`{event.name}`" in text for event in CATALOGUE)


def test_limits() -> None:
    """The table of limits has each of the settings with its default."""
    limits = [[f"`{name}`", f"`{default}`"] for name, default, _ in describe() if name.startswith("LIMIT_")]
    assert [row[:2] for row in table(DOCS / "security.md", "setting")] == limits


def test_bounds() -> None:
    """The numbers in the table of bounds are those of the code and of the settings' defaults."""
    bounds = dict(table(DOCS / "security-details.md", "what"))
    numbers = {what: {int(number.replace(",", "")) for number in _NUMBER.findall(bounds[what])} for what in bounds}
    assert {what: numbers.get(what) for what in BOUNDS} == BOUNDS
    assert MAX_PACKETS in numbers["packets of a POST"]
    assert backlog.VOLATILE_LIMIT in numbers["backlog of a slow consumer"]
    defaults = {variable.name: variable.default or "" for variable in describe()}
    for what in SET:
        (setting,) = re.findall(r"`(WS_\w+)`", bounds[what])
        assert int(defaults[setting]) in numbers[what], what


def test_refused_requests() -> None:
    """The table of Engine.IO's errors has each code with its messages. A code may have several rows."""
    rows = [(row[0], row[1]) for row in table(DOCS / "protocol.md", "code")]
    assert list(dict.fromkeys(rows)) == [(str(int(code)), f"`{message}`") for code, message in MESSAGES.items()]


def test_disconnect_reasons() -> None:
    """The table of reasons has each reason that a handler can get."""
    rows = table(DOCS / "protocol.md", "reason")
    assert sorted(row[0] for row in rows) == sorted(f"`{reason.value}`" for reason in Reason)


@pytest.mark.parametrize(
    ("number", "transitions", "states", "heading"),
    [(0, TRANSITIONS, State, "state"), (1, SYNC_TRANSITIONS, SyncState, "sync state")],
    ids=["session", "presence"],
)
def test_state_machines(
    number: int, transitions: Mapping[tuple[Enum, Enum], Enum], states: type[Enum], heading: str
) -> None:
    """The drawing of each state machine has the arrows of its table of transitions, and each state its meaning."""
    drawings = [block.text for block in blocks(DOCS / "architecture.md", "mermaid") if "stateDiagram" in block.text]
    drawn = {(before, event): after for before, after, event in _ARROW.findall(drawings[number])}
    assert drawn == {(before.name, event.name): after.name for (before, event), after in transitions.items()}
    assert [row[0] for row in table(DOCS / "architecture.md", heading)] == [f"`{state.name}`" for state in states]


def test_layers() -> None:
    """The drawing of the layers has the order of the import rule."""
    drawing = next(block.text for block in blocks(DOCS / "architecture.md", "mermaid") if "flowchart" in block.text)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    chain = drawing.partition("TD\n")[2].strip()
    assert [re.findall(r"\w+", level) for level in chain.split(" --> ")] == [re.findall(r"\w+", row) for row in layers]


def test_sizes() -> None:
    """The table of the layers has each folder's lines of code, within a fifth."""
    rows = {row[0].strip("`/"): row[1] for row in table(DOCS / "architecture.md", "folder") if row[1] != "-"}
    assert len(rows) > 10
    for folder, shown in rows.items():
        files = (ROOT / "src" / "synkora" / folder).rglob("*.py")
        lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
        assert abs(int(shown.replace(",", "")) - lines) <= max(lines / 5, 100), f"{folder} has {lines} lines"
