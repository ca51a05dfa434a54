"""Finds events that a program emits but does not declare: generated declarations would lack them."""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

#: Folders of a project with files of third parties.
_FOREIGN: Final = frozenset(("site-packages", "dist-packages"))
#: Events that every namespace emits.
_OWN: Final = "error"


class Emit(NamedTuple):
    """A place where an event is emitted by a literal name."""

    file: Path
    line: int
    event: str


def imported_files(folder: Path) -> list[Path]:
    """Return the files of the modules imported from a folder, without installed packages."""
    files = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    return sorted(file for file in files if file.is_relative_to(folder) and not _FOREIGN & set(file.parts))


def undeclared(files: Iterable[Path], declared: Iterable[str]) -> Iterator[Emit]:
    """Yield the calls `….emit("name", …)` and `await ….call("name", …)` with an undeclared event."""
    known = {_OWN, *declared}
    for file in files:
        tree = ast.parse(file.read_bytes(), str(file))
        found = {emit for node in ast.walk(tree) if (emit := _emit(file, node)) is not None}
        yield from sorted(emit for emit in found if emit.event not in known)


def _emit(file: Path, node: ast.AST) -> Emit | None:
    method = "emit"
    if isinstance(node, ast.Await):  # `call` is the name of other functions too, such as subprocess.call
        method, node = "call", node.value
    match node:
        case ast.Call(func=ast.Attribute(attr=attr), args=[ast.Constant(value=str(event)), *_]) if attr == method:
            return Emit(file, node.lineno, event)
    return None
