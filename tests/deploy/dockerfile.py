"""A parser for Dockerfiles, and a builder that runs a stage's commands below a folder, without a container."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

_PATIENCE: Final = 300  # seconds: far more than an installation takes
_INSTRUCTION: Final = re.compile(r"^([A-Z]+) ((?:.*\\\n)*.*)$", re.MULTILINE)


class Instruction(NamedTuple):
    word: str
    text: str


def stages(dockerfile: Path) -> list[list[Instruction]]:
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: list[list[Instruction]] = []
    for match in _INSTRUCTION.finditer(text):
        instruction = Instruction(match[1], match[2].replace("\\\n", ""))
        if instruction.word == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def texts(stage: list[Instruction], word: str) -> list[str]:
    return [instruction.text for instruction in stage if instruction.word == word]


def command(stage: list[Instruction], word: str) -> list[str]:
    (text,) = texts(stage, word)
    words: list[str] = json.loads(text[text.index("[") :])
    return words


def environment(stage: list[Instruction]) -> dict[str, str]:
    return dict(pair.split("=", 1) for text in texts(stage, "ENV") for pair in text.split())


class Builder:
    """Runs a stage below `root`, in place of the image's root, with copies from the folder `context`.

    `python` is the image's interpreter, and `built` the output of an earlier stage.
    """

    def __init__(self, root: Path, context: Path, python: Path, built: Path) -> None:
        self._root = root
        self._context = context
        self._built = built
        self._folder = root
        bin_ = root / "usr" / "bin"
        bin_.mkdir(parents=True)
        (bin_ / "python").symlink_to(python)
        self._environment = {"PATH": f"{bin_}:/usr/bin:/bin", "HOME": os.environ["HOME"], "PIP_NO_COMPILE": "1"}

    def build(self, stage: list[Instruction]) -> None:
        """Run the instructions of a stage. Fails at an unknown one."""
        for word, text in stage[1:]:
            match word:
                case "WORKDIR":
                    self._folder = self.path(text)
                    self._folder.mkdir(parents=True)
                case "COPY":
                    self._copy(text.split())
                case "RUN":
                    self._run(text)
                case _:
                    raise AssertionError(f"{word} in a stage that is built")

    def path(self, path: str) -> Path:
        return self._root / path.removeprefix("/")

    def _copy(self, words: list[str]) -> None:
        is_built = words[0].startswith("--from=")
        *sources, target = words[is_built:]
        for source in sources:
            found = self._built if is_built else self._context / source
            into = self._folder / target
            if found.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "node_modules", *(() if is_built else ("web",)))
                shutil.copytree(found, into, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy(found, into)

    def _run(self, text: str) -> None:
        done = subprocess.run(
            ["sh", "-ec", text.replace("/opt/", f"{self._root}/opt/").replace(" --no-cache-dir", "")],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            encoding="utf-8",
            timeout=_PATIENCE,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
