"""The image: its file is linted, and its steps run without a container, in a folder that stands for the image."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.deploy.dockerfile import Builder, command, environment, stages, texts
from tests.docs.documents import ROOT
from tests.support.node_process import NodeProcess
from tests.support.processes import PATIENCE, Program, free_port
from tests.support.real_clients import WAYS, Client
from tests.support.users import ALICE, SECRET

DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
WEB, SERVER, IMAGE = stages(DOCKERFILE)
PAGES = ROOT / "src" / "synkora" / "app" / "web"
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment of the image: the lock file's packages from the registry, and the wheel."""
    builder = Builder(tmp_path_factory.mktemp("image"), ROOT, Path(sys.executable).resolve(), PAGES)
    builder.build(SERVER)
    return builder.path("/opt/synkora")


def is_healthy(image: Path, variables: dict[str, str]) -> bool:
    """Whether the image's health check succeeds."""
    check: list[str | Path] = [image / "bin" / "python", *command(IMAGE, "HEALTHCHECK")[1:]]
    return subprocess.run(check, env=variables, timeout=PATIENCE, stderr=subprocess.DEVNULL).returncode == 0


def test_the_linter_finds_nothing() -> None:
    done = subprocess.run([BIN / "hadolint", DOCKERFILE], capture_output=True, encoding="utf-8", timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_pages_are_built_as_make_does() -> None:
    """The commands are the same, so the pages of `make web` can stand for the image's."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert texts(WEB, "RUN") == ["npm ci", "npm run build -- --mode playground && npm run build -- --mode console"]
    assert "npm ci --prefix web" in makefile
    assert "npm run --prefix web --silent build" in makefile


def test_the_process_is_not_root() -> None:
    """A numeric user other than 0 that owns no files."""
    assert [user.split(":") for user in texts(IMAGE, "USER")] == [["10001", "10001"]]
    assert not any("--chown" in text for text in texts(IMAGE, "COPY"))


def test_copied_files_are_not_ignored() -> None:
    """The builder gets each copied file, and no secret one."""
    ignored = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        word.partition("/")[0]
        for stage in (WEB, SERVER)
        for text in texts(stage, "COPY")
        if not text.startswith("--from")
        for word in text.split()[:-1]
    }
    assert ignored[1] == "*"
    assert copied == let_through


@pytest.mark.asyncio(loop_scope="module")
async def test_it_serves_in_a_clean_environment(image: Path, node: NodeProcess, tmp_path: Path) -> None:
    """The health check succeeds, a client joins a project, and the server stops. Then the check fails."""
    port = free_port()
    variables = {**environment(IMAGE), "WS_PORT": str(port), "NEXTAUTH_SECRET": SECRET}
    variables["PATH"] = f"{image / 'bin'}:{variables['PATH'].partition(':')[2]}"
    assert not (image / "bin" / "pip").exists()
    url = f"http://127.0.0.1:{port}"

    with Program([image / "bin" / "synkora", *command(IMAGE, "CMD")[1:]], tmp_path, **variables) as program:
        program.line(lambda line: line.startswith("✓ Ready"))
        assert is_healthy(image, variables)
        client = Client("Alice", WAYS["js-upgrade"], node)
        await client.connect(url, {"token": ALICE.token})
        await client.expect("connected")
        await client.emit("join-project", "p")
        assert (await client.expect("users:active"))["count"] == 1
        await client.close()
        program.signal()
        assert program.wait() == 0, program.output
    assert not is_healthy(image, variables)


@pytest.mark.asyncio(loop_scope="module")
async def test_its_pages_are_there(image: Path, tmp_path: Path) -> None:
    with Program(
        [image / "bin" / "synkora"], tmp_path, NEXTAUTH_SECRET=SECRET, WS_HOST="127.0.0.1", WS_PORT="0"
    ) as program:
        address = program.line(lambda line: line.startswith("✓ Playground: ")).partition(": ")[2]
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
            assert "<script" in (await http.get(address)).text
