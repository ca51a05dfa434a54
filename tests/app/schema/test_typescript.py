"""The TypeScript declarations, checked by the TypeScript compiler."""

import re
from pathlib import Path

import pytest
from tests.docs.documents import ROOT, blocks
from tests.support.typescript import compiled, declare
from tests.support.users import CLIENTS

from synkora import __version__
from synkora.app.schema.messages import from_clients, to_clients
from synkora.app.schema.typescript import document

_MEMBER = re.compile(r'^  "?([\w:-]+)"?: \(', re.MULTILINE)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the declarations and socket.io-client's."""
    folder = tmp_path_factory.mktemp("page")
    declare(folder, "synkora-events.d.ts", document())
    return folder


def test_they_have_every_event() -> None:
    """Each event is in the interface of its direction. The file has the server's version."""
    text = document()
    for interface, messages in (("ClientToServerEvents", from_clients()), ("ServerToClientEvents", to_clients())):
        members = text.partition(f"export interface {interface}<")[2].partition("\n}\n")[0]
        assert _MEMBER.findall(members) == [message.name for message in messages]
    assert f"WebSocket server {__version__}," in text


def test_a_page_that_is_right_compiles(page: Path) -> None:
    assert compiled(page, (CLIENTS / "typed-events.ts").read_text(encoding="utf-8")) == []


def test_every_mistake_is_an_error(page: Path) -> None:
    """Each mistake of a page is reported with its line and number, and nothing else."""
    text = (CLIENTS / "mistyped-events.ts").read_text(encoding="utf-8")
    lines = enumerate(text.splitlines(), start=1)
    mistakes = [(number, int(line.rpartition("// ")[2])) for number, line in lines if re.search(r"// \d+$", line)]
    assert len(mistakes) > 20
    assert compiled(page, text) == mistakes


def test_the_sample_of_the_documents_compiles(page: Path) -> None:
    (sample,) = blocks(ROOT / "docs/events.md", "ts")
    assert compiled(page, sample.text) == []
