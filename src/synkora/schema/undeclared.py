"""Events that a program emits and does not declare: they would be missing from what is written for its clients."""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

#: Folders of a project with the files of others.
_FOREIGN: Final = frozenset(("site-packages", "dist-packages"))
#: What every namespace emits by itself.
_OWN: Final = "error"


class Emit(NamedTuple):
    """A place where an event is emitted by a literal name."""

    file: Path
    line: int
    event: str


def imported_files(folder: Path) -> list[Path]:
    """The files of the modules that have been imported from a folder, without installed packages."""
    files = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    return sorted(file for file in files if file.is_relative_to(folder) and not _FOREIGN & set(file.parts))


def undeclared(files: Iterable[Path], declared: Iterable[str]) -> Iterator[Emit]:
    """The calls `….emit("name", …)` and `await ….call("name", …)` whose event is not among those that are declared."""
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
