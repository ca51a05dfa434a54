import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from synkora.identity.tokens import Keyring

TESTS = Path(__file__).parent.parent

Vectors = dict[str, Any]
NpmTokens = Callable[[Sequence[dict[str, Any]]], list[Any]]


@pytest.fixture(scope="session")
def vectors() -> Vectors:
    """Tokens made by the npm packages, with their secret and claims."""
    vectors: Vectors = json.loads((TESTS / "vectors" / "nextauth.json").read_bytes())
    return vectors


@pytest.fixture(scope="session")
def keyring(vectors: Vectors) -> Keyring:
    return Keyring(vectors["secret"])


@pytest.fixture(scope="session")
def npm_tokens() -> NpmTokens:
    """Lets the real npm packages handle a list of orders, all in one process of Node.js."""

    def answers(orders: Sequence[dict[str, Any]]) -> list[Any]:
        node = subprocess.run(
            ["node", "make-tokens.mjs"],
            cwd=TESTS / "clients",
            input=json.dumps(orders),
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert node.returncode == 0, node.stderr
        made: list[Any] = json.loads(node.stdout)
        return made

    return answers
