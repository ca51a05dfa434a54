from pathlib import Path

import pytest
from bench.workloads import build, write_tokens

MOST_CLIENTS = 200


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both programs and a token for each client."""
    folder = tmp_path_factory.mktemp("bench")
    for program in ("load", "floor"):
        build(program, folder)
    write_tokens(folder / "tokens.txt", MOST_CLIENTS)
    return folder
