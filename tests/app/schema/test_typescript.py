"""The TypeScript declarations, checked by the TypeScript compiler."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.docs.documents import ROOT, blocks
from tests.support.users import CLIENTS

from synkora import __version__
from synkora.app.schema.messages import from_clients, to_clients
from synkora.app.schema.typescript import document

OPTIONS = ("--noEmit", "--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler")
_MEMBER = re.compile(r'^  "?([\w:-]+)"?: \(', re.MULTILINE)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the declarations and socket.io-client's."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "synkora-events.d.ts").write_text(document(), encoding="utf-8")
    (folder / "node_modules").symlink_to(CLIENTS / "node_modules")
    return folder


def compiled(page: Path, sources: str) -> list[tuple[int, int]]:
    """The compiler's errors for a file by line and number. Errors of other files have line 0."""
    done = subprocess.run(
        [CLIENTS / "node_modules/.bin/tsc", *OPTIONS, sources], cwd=page, capture_output=True, text=True, timeout=60
    )
    found = re.findall(r"^([^\s(]+)\((\d+),\d+\): error TS(\d+)", done.stdout, re.MULTILINE)
    assert (done.returncode == 0) == (not found), done.stdout + done.stderr
    return [(int(line) if file == sources else 0, int(number)) for file, line, number in found]


def test_they_have_every_event() -> None:
    """Each event is in the interface of its direction. The file has the server's version."""
    text = document()
    for interface, messages in (("ClientToServerEvents", from_clients()), ("ServerToClientEvents", to_clients())):
        members = text.partition(f"export interface {interface}<")[2].partition("\n}\n")[0]
        assert _MEMBER.findall(members) == [message.name for message in messages]
    assert f"WebSocket server {__version__}," in text


def test_a_page_that_is_right_compiles(page: Path) -> None:
    shutil.copy(CLIENTS / "typed-events.ts", page)
    assert compiled(page, "typed-events.ts") == []


def test_every_mistake_is_an_error(page: Path) -> None:
    """Each mistake of a page is reported with its line and number, and nothing else."""
    text = (CLIENTS / "mistyped-events.ts").read_text(encoding="utf-8")
    lines = enumerate(text.splitlines(), start=1)
    mistakes = [(number, int(line.rpartition("// ")[2])) for number, line in lines if re.search(r"// \d+$", line)]
    (page / "mistyped-events.ts").write_text(text, encoding="utf-8")
    assert len(mistakes) > 20
    assert compiled(page, "mistyped-events.ts") == mistakes


def test_the_sample_of_the_documents_compiles(page: Path) -> None:
    (sample,) = blocks(ROOT / "docs/events.md", "ts")
    (page / "sample.ts").write_text(sample.text, encoding="utf-8")
    assert compiled(page, "sample.ts") == []
