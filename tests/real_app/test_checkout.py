"""The checkouts that `make real-app` accepts, its error messages, and the changes in its copy."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.real_app.__main__ import main
from tests.real_app.checkout import adapt

Complain = Callable[..., str]

FILES = {
    "package.json": "{}",
    "package-lock.json": json.dumps({"packages": {"node_modules/@prisma/client": {"version": "6.19.0"}}}),
    "next.config.js": "module.exports = {};\n",
    "prisma/schema.prisma": 'generator client {\n  provider = "prisma-client-js"\n}\n',
    "lib/prisma.ts": "export const prisma = new PrismaClient();\n",
    "hooks/use-realtime-kanban.ts": "",
    "app/projects/[projectId]/kanban/page.tsx": "",
    ".env.local": "NEXTAUTH_SECRET=theirs\n",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "checkout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "checkout"


@pytest.fixture
def complain(capsys: pytest.CaptureFixture[str]) -> Complain:
    """Runs the program. Returns its message and checks the exit status 2."""

    def complain(*arguments: str | Path) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        said = capsys.readouterr()
        assert not said.out
        return said.err

    return complain


@pytest.mark.parametrize("arguments", [[], [""]])
def test_without_a_checkout_it_says_how_to_name_one(complain: Complain, arguments: list[str]) -> None:
    """`make real-app` alone names the variable, with an example."""
    assert "make real-app APP=../synkora" in complain(*arguments)


def test_a_folder_that_is_not_there(complain: Complain, tmp_path: Path) -> None:
    assert complain(tmp_path / "none") == f"APP={tmp_path}/none is no folder\n"


@pytest.mark.parametrize("name", [name for name in FILES if name != ".env.local"])
def test_a_checkout_of_something_else(complain: Complain, checkout: Path, name: str) -> None:
    """The message names the first missing file."""
    (checkout / name).unlink()
    assert complain(checkout) == f"APP={checkout} is not a checkout of Synkora's web app: {name} is missing\n"


@pytest.mark.parametrize("version", ["5.22.0", "6.15.1", "7.0.0"])
def test_a_prisma_that_needs_an_engine_or_is_too_new(complain: Complain, checkout: Path, version: str) -> None:
    """The message has the found version and the supported ones."""
    lock = {"packages": {"node_modules/@prisma/client": {"version": version}}}
    (checkout / "package-lock.json").write_text(json.dumps(lock))
    assert complain(checkout) == f"APP={checkout} has @prisma/client {version}, and this takes 6.16 or a later 6\n"


def test_a_schema_with_another_generator(complain: Complain, checkout: Path) -> None:
    """The copy's client could not be configured to work without an engine."""
    (checkout / "prisma/schema.prisma").write_text('generator client {\n  provider = "prisma-client"\n}\n')
    assert "no generator prisma-client-js" in complain(checkout)


def test_a_missing_tool(complain: Complain, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert complain(checkout) == "make real-app needs Node.js 20.19 or newer: node is missing\n"


def test_the_copy_is_adapted_and_the_checkout_is_not(checkout: Path, tmp_path: Path) -> None:
    """Only the data layer and the build's checks differ. Settings and secrets are not copied."""
    copy = tmp_path / "copy"
    (copy / "node_modules").mkdir(parents=True)
    (copy / "gone.ts").write_text("")
    adapt(checkout, copy)
    assert 'provider = "prisma-client-js"\n  engineType = "client"\n' in (copy / "prisma/schema.prisma").read_text()
    assert "PrismaPg" in (copy / "lib/prisma.ts").read_text()
    assert "ignoreBuildErrors" in (copy / "next.config.js").read_text()
    assert not (copy / ".env.local").exists()
    assert not (copy / "gone.ts").exists()
    assert (copy / "node_modules").is_dir()
    assert {name: (checkout / name).read_text() for name in FILES} == FILES
