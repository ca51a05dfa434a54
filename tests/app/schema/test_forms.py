"""`synkora schema`."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.support.forks import run

from synkora.app.api import openapi
from synkora.app.schema import asyncapi, json_schema, typescript


def schema(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(folder, "schema", *arguments, environment={"PATH": os.environ["PATH"]})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((), asyncapi.document()), (("asyncapi",), asyncapi.document()), (("json-schema",), json_schema.document())],
)
def test_json(tmp_path: Path, arguments: tuple[str, ...], expected: object) -> None:
    """Without `--as`, the command prints the AsyncAPI document. It needs no settings."""
    done = schema(tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == expected


def test_typescript_into_a_file(tmp_path: Path) -> None:
    """With `--output`, the command writes a file and prints nothing."""
    done = schema(tmp_path, "typescript", "--output", "synkora-events.d.ts")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "synkora-events.d.ts").read_text(encoding="utf-8") == typescript.document()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    done = schema(tmp_path, "--output", "nowhere/asyncapi.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "nowhere/asyncapi.json cannot be written: No such file or directory\n"


def test_an_unknown_form_is_refused(tmp_path: Path) -> None:
    done = schema(tmp_path, "xml")
    assert done.returncode == 2
    for form in ("asyncapi", "json-schema", "typescript"):
        assert form in done.stderr


@pytest.mark.parametrize("arguments", [("openapi",), ("--format", "openapi"), ("openapi", "--format", "openapi")])
def test_openapi(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """The form is an argument or an option."""
    assert json.loads(schema(tmp_path, *arguments).stdout) == openapi.document()


def test_two_forms_are_refused(tmp_path: Path) -> None:
    done = schema(tmp_path, "openapi", "--format", "typescript")
    assert done.returncode == 2
    assert "it is typescript, and the argument openapi" in done.stderr
