"""Files of variables, compared with the package that reads them in the web app."""

import json
import random
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from synkora.app.dotenv import file_names, load, parse

READ_ENV: Final = Path(__file__).parents[1] / "clients" / "read-env.mjs"
_PATIENCE: Final = 60  # seconds

SPELLINGS: Final = [
    "S=plain",
    "S=with#hash",
    "S=with #hash",
    'S="with#hash"',
    "S='with # hash' # a comment",
    "S=`with \"both' kinds`",
    r"S=a\$b",
    "S=a$b",
    "S=a$$b",
    "S='a$b'",
    r'S="a\$b"',
    'B=other\nS="a${B}c"',
    "S=a${B}c\nB=later",
    "S=${B:-default}c",
    "B=x\nS=${B:-default}c",
    "S=$B$B$B\nB=$C\nC=end",
    "S=$S",
    "B='a$$b'\nS=x${B}y",
    r'S="two\nlines\rand \t"',
    r"S='two\nlines'",
    'S="a\nb\nc"',
    "S='a\nb'\nT=1",
    'S="unclosed',
    "S='unclosed\nT=1",
    'S="a"b"c"',
    'S="a" trailing',
    "S=  spaces around  ",
    "  S = x",
    "export S=x",
    "exportS=x",
    "S: yaml",
    "S:yaml",
    "S=",
    "S",
    "S=a\nS=b",
    "# S=x\nT=1",
    "\ufeffS=bom",
    "S=a\r\nT=b\rU=c",
    "S=\u00a0x\u00a0",
    "S=a\u2028T=b",
    "A.b-c=x\nS=${A.b-c}",
    "S=$A_B1-x\nA_B1=y",
    "S=${unclosed",
    "S=$",
    "S=a$1b",
    "S=a=b==",
    'S=""',
    "S=''",
    'S="it\'s"',
    r'S="a\"b"',
    r"S='a\'b'",
    r"S=a\\$B",
    "S=é☃😀",
]
_PIECES: Final = [*"xy1_=:#$\\\"'` \t\n{}-.&", "${", "}", ":-", "\\$", "\\n", "$C", "${D}", "\nK=", "\nL=", "export "]

pytestmark = pytest.mark.tools


def app_reads(cases: list[dict[str, Any]]) -> list[dict[str, str]]:
    done = subprocess.run(
        ["node", READ_ENV], input=json.dumps(cases), capture_output=True, encoding="utf-8", timeout=_PATIENCE
    )
    assert done.returncode == 0, done.stderr
    answer: list[dict[str, str]] = json.loads(done.stdout)
    return answer


def we_read(case: dict[str, Any], folder: Path) -> dict[str, str]:
    for file in folder.iterdir():
        file.unlink()
    for name, text in case["files"].items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return load([folder / name for name in file_names(case["mode"])], case["environment"])


def assert_alike(cases: list[dict[str, Any]], folder: Path) -> None:
    for case, theirs in zip(cases, app_reads(cases), strict=True):
        assert we_read(case, folder) == theirs, case


def case_of(text: str, mode: str = "production", **environment: str) -> dict[str, Any]:
    return {"files": {".env.local": text}, "environment": environment, "mode": mode}


def test_every_spelling_of_a_value(tmp_path: Path) -> None:
    """Quotes, comments, escapes, references and line ends."""
    cases = [case_of(text, B=given) if given else case_of(text) for text in SPELLINGS for given in ("", "given", "a$C")]
    assert_alike(cases, tmp_path)


def test_any_text(tmp_path: Path) -> None:
    chance = random.Random(13)
    texts = ["A=" + "".join(chance.choices(_PIECES, k=chance.randint(1, 20))) for _ in range(500)]
    # `$&` stands for the reference that is replaced, so that it has no end: the package resolves it until its stack is
    # full, which takes a tenth of a second.
    cases = [case_of(text, C="$D", D="d$$&" if number % 25 else "d&$&") for number, text in enumerate(texts)]
    assert_alike(cases, tmp_path)


@pytest.mark.parametrize("mode", ["development", "production"])
def test_the_order_of_files(tmp_path: Path, mode: str) -> None:
    """The environment comes first, then the most specific file. Each may refer to earlier ones."""
    names = [
        ".env",
        ".env.local",
        ".env.development",
        ".env.production",
        ".env.development.local",
        ".env.production.local",
    ]
    cases = []
    for left_out in range(0, len(names) + 1, 2):
        files = {name: f"A={name}\nB=${{A}}-{name}\nC=$D" for name in names[left_out:]}
        cases += [
            {"files": files, "environment": environment, "mode": mode} for environment in ({}, {"A": "x$C", "D": "d"})
        ]
    assert_alike(cases, tmp_path)


def test_the_values_of_one_file() -> None:
    assert parse("A='x # y' # z\nexport B=\"a\\nb\"\nC=a#b\n") == {"A": "x # y", "B": "a\nb", "C": "a"}


def test_a_circular_reference_makes_a_file_count_as_empty(tmp_path: Path) -> None:
    """As in the app, whose parser fails. Other files count."""
    (tmp_path / ".env.local").write_text("A=1\nB=$B")
    (tmp_path / ".env").write_text("A=2")
    assert load([tmp_path / ".env.local", tmp_path / ".env"], {}) == {"A": "2"}
