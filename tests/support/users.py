"""The users of the tests, and their tokens."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synkora.identity.tokens import sign

SECRET = "the-secret-of-the-end-to-end-tests-f3b9c1d7"
PROJECT = "proj_456"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
CLIENTS = Path(__file__).parent.parent / "clients"

#: Every token that was made: no server may write one.
ISSUED: list[str] = []


@dataclass(frozen=True)
class User:
    id: str
    name: str
    image: str | None = None

    @property
    def claims(self) -> dict[str, Any]:
        """The claims about them in the web app's tokens."""
        claims: dict[str, Any] = {"id": self.id, "name": self.name, "email": f"{self.id}@example.com"}
        return claims if self.image is None else {**claims, "picture": self.image}

    @property
    def token(self) -> str:
        return issue(self.claims)


ALICE = User("user-alice", "Alice", "https://example.com/alice.png")
BOB = User("user-bob", "Bob")
CAROL = User("user-carol", "Carol", "https://example.com/carol.png")
DAVE = User("user-dave", "Dave")


def issue(claims: dict[str, Any], *, secret: str = SECRET, expires_in: float = 3600) -> str:
    token = sign(claims, secret, expires_in=expires_in)
    ISSUED.append(token)
    return token


def npm_tokens(orders: list[dict[str, Any]]) -> list[str]:
    """Tokens made by the web app's npm packages, one for each order (see make-tokens.mjs)."""
    node = subprocess.run(
        ["node", "make-tokens.mjs"],
        cwd=CLIENTS,
        input=json.dumps([{"secret": SECRET, **order} for order in orders]),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert node.returncode == 0, node.stderr
    made: list[str] = json.loads(node.stdout)
    ISSUED.extend(made)
    return made
