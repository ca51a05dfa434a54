"""References in the documents."""

import re
from pathlib import Path

import pytest
from tests.docs.documents import DOCUMENTS, ROOT, anchors, links, prose

from synkora.app.settings.variables import describe

#: What is no variable of the server: OpenSSL's own, and the beginning that the limits' names have in common.
OTHERS = {"SSL_CERT_FILE", "LIMIT_"}
_FAMILIES = "WS|NEXTAUTH|SHUTDOWN|LOG|REDIS|ALLOWED|LIMIT|SSL|TRUSTED|SYNKORA|PROJECT|APP|DATABASE"
_PATHS = [str(document.relative_to(ROOT)) for document in DOCUMENTS]


@pytest.mark.parametrize("path", _PATHS)
def test_links_lead_somewhere(path: str) -> None:
    """Each link within the repository names an existing file and, after #, one of its headings."""
    document = ROOT / path
    for link in links(document):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        file = (document.parent / target).resolve() if target else document
        assert file.is_relative_to(ROOT), f"{link} leads out of the repository"
        assert file.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(file), f"{link}: no such heading"


def test_every_document_can_be_found() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        if document not in reached:
            reached.add(document)
            targets = [(document.parent / link.partition("#")[0]).resolve() for link in links(document)]
            waiting.extend(target for target in targets if target in DOCUMENTS)
    assert reached == set(DOCUMENTS)


@pytest.mark.parametrize("path", _PATHS)
def test_documents_name_files_that_exist(path: str) -> None:
    named = set(re.findall(r"`((?:\w+/)+[\w.-]*)`", prose(ROOT / path)))
    assert {
        name for name in named if not (ROOT / name).exists() and not (ROOT / "src/synkora" / name).exists()
    } == set()


@pytest.mark.parametrize("path", _PATHS)
def test_documents_name_variables_that_exist(path: str) -> None:
    known = {variable.name for variable in describe()} | OTHERS
    named = set(re.findall(rf"`((?:{_FAMILIES})_[A-Z_]*)", prose(ROOT / path)))
    assert named <= known
