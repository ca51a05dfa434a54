"""The TypeScript compiler, for pages that use generated declarations."""

import re
import subprocess
from pathlib import Path

from tests.support.users import CLIENTS

_OPTIONS = ("--noEmit", "--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler")


def declare(folder: Path, file: str, declarations: str) -> None:
    """Put declarations into a folder for pages, with socket.io-client's."""
    (folder / file).write_text(declarations, encoding="utf-8")
    (folder / "node_modules").symlink_to(CLIENTS / "node_modules")


def compiled(folder: Path, text: str) -> list[tuple[int, int]]:
    """Compile a page. Returns the compiler's errors by line and number; errors of other files have line 0."""
    (folder / "page.ts").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [CLIENTS / "node_modules/.bin/tsc", *_OPTIONS, "page.ts"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = re.findall(r"^([^\s(]+)\((\d+),\d+\): error TS(\d+)", done.stdout, re.MULTILINE)
    assert (done.returncode == 0) == (not found), done.stdout + done.stderr
    return [(int(line) if file == "page.ts" else 0, int(number)) for file, line, number in found]
