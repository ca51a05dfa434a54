"""Writes docs/modules.md from the docstrings of the modules: `python docs/site/modules.py`."""

import ast
import re
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[1] / "modules.md"
SOURCE: Final = Path(__file__).parents[2] / "src" / "synkora"
HEAD: Final = """# Modules

Each module with what it holds, by folder. [Architecture](architecture.md) says how the folders depend on each other.
"""


def modules() -> str:
    """The page: a table for each folder with modules."""
    folders = sorted({file.parent for file in SOURCE.rglob("*.py")})
    return HEAD + "".join(map(_section, folders))


def _section(folder: Path) -> str:
    name = folder.relative_to(SOURCE.parent).as_posix()
    files = [file for file in sorted(folder.iterdir()) if file.suffix == ".lua" or _has_code(file)]
    rows = [f"| `{file.name}` | {_about(file)} |" for file in files]
    lines = [f"\n## {name}/\n", _about(folder / "__init__.py"), "", "| module | what it holds |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _has_code(file: Path) -> bool:
    """Whether a file is a module, and not a folder's list of names."""
    if file.suffix != ".py" or file.name != "__init__.py":
        return file.suffix == ".py"
    definitions = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(each, definitions) for each in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def _about(file: Path) -> str:
    """Return the first paragraph of a module's docstring, or of a script's first comment."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".lua":
        comment = re.match(r"(?:--[^\n]*\n)+", text)
        text = " ".join(re.findall(r"--+ ?([^\n]*)", comment[0])) if comment else ""
        return text.partition(". ")[0].rstrip(".") + "."
    paragraph = (ast.get_docstring(ast.parse(text)) or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(modules(), encoding="utf-8")
