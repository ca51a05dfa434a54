"""The rows of the server's own events agree with its code."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

from tests.collaboration.site import Site

import synkora.collaboration
from synkora.collaboration.events import CATALOGUE
from synkora.collaboration.server_events import CLIENT_EVENTS, SERVER_EVENTS

FOLDER = Path(next(iter(synkora.collaboration.__path__)))


def emitted() -> Iterator[str]:
    """The event names in the emits of the collaboration's source."""
    for path in FOLDER.glob("*.py"):
        module = importlib.import_module(f"synkora.collaboration.{path.stem}")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="emit"), args=[name, *_]):
                    pass
                case ast.Call(func=ast.Attribute(value=ast.Name(id="packets"), attr="draft"), args=[name, *_]):
                    pass
                case ast.Call(func=ast.Name(id="emit_once"), args=[_, name, *_]):
                    pass
                case _:
                    continue
            match name:
                case ast.Constant(value=str(text)):
                    yield text
                case ast.Name(id=constant):
                    yield getattr(module, constant)


def test_every_emitted_event_has_a_row() -> None:
    names = set(emitted())
    assert "connected" in names
    assert names <= {notice.name for notice in SERVER_EVENTS}


def test_every_handled_event_has_a_row(site: Site) -> None:
    assert site.server.of("/")._core.routes.by_name.keys() == {ask.name for ask in CLIENT_EVENTS} | {
        event.name for event in CATALOGUE
    }
