"""Tokens made during the test by the web app's npm packages."""

from collections.abc import Callable
from typing import Any

import pytest

from synkora.identity.sign_in import Authenticator
from synkora.identity.tokens import Keyring, sign

pytestmark = pytest.mark.tools

SECRET = "a secret with ünïcode and a space"
CLAIMS = {"id": "user-1", "name": "Zoë 🚀", "email": "zoe@example.com", "picture": "https://example.com/zoe.png"}

V4 = "next-auth.session-token"
V5 = "authjs.session-token"

NpmTokens = Callable[[list[dict[str, Any]]], list[Any]]

ORDERS: dict[str, dict[str, Any]] = {
    "signed HS256": {"by": "jsonwebtoken", "algorithm": "HS256"},
    "signed HS384": {"by": "jsonwebtoken", "algorithm": "HS384"},
    "signed HS512": {"by": "jsonwebtoken", "algorithm": "HS512"},
    "v4": {"by": "nextauth"},
    "v5": {"by": "authjs", "salt": V5},
    "v5 secure": {"by": "authjs", "salt": f"__Secure-{V5}"},
    "v5 A256GCM": {"by": "authjs A256GCM", "salt": V5},
    "v5 A256GCM secure": {"by": "authjs A256GCM", "salt": f"__Secure-{V5}"},
}
ONLY_BY_COOKIE: dict[str, dict[str, Any]] = {
    "v4 salted": {"by": "nextauth", "salt": V4},
    "v4 salted secure": {"by": "nextauth", "salt": f"__Secure-{V4}"},
    "v5 host": {"by": "authjs", "salt": f"__Host-{V5}"},
}


@pytest.fixture(scope="module")
def fresh(npm_tokens: NpmTokens) -> dict[str, str]:
    orders = {**ORDERS, **ONLY_BY_COOKIE}
    return dict(
        zip(orders, npm_tokens([{"claims": CLAIMS, "secret": SECRET, **each} for each in orders.values()]), strict=True)
    )


@pytest.mark.parametrize("kind", ORDERS)
def test_a_fresh_token_is_verified(fresh: dict[str, str], kind: str) -> None:
    """Each kind yields its claims, whatever characters the secret has."""
    claims = Keyring(SECRET).verify(fresh[kind])
    assert CLAIMS.items() <= claims.items()
    assert isinstance(claims["exp"], int)
    assert isinstance(claims["iat"], int)


@pytest.mark.parametrize("kind", [kind for kind, order in {**ORDERS, **ONLY_BY_COOKIE}.items() if "salt" in order])
def test_a_salted_token_is_verified_from_its_cookie(fresh: dict[str, str], kind: str) -> None:
    """A cookie's name is the salt, in every variant of the name."""
    name = {**ORDERS, **ONLY_BY_COOKIE}[kind]["salt"]
    user = Authenticator(Keyring(SECRET)).sign_in(None, None, f"{name}={fresh[kind]}").user
    assert (user.id, user.name, user.email, user.image) == tuple(CLAIMS.values())


def test_a_session_that_needs_chunks_signs_in(npm_tokens: NpmTokens) -> None:
    """A session longer than one cookie is read from the app's chunks."""
    [token] = npm_tokens([{"by": "nextauth", "claims": {**CLAIMS, "roles": "x" * 8000}, "secret": SECRET}])
    chunks = [token[start : start + 3933] for start in range(0, len(token), 3933)]
    assert len(chunks) > 2
    header = "; ".join(f"{V4}.{index}={chunk}" for index, chunk in enumerate(chunks))
    assert Authenticator(Keyring(SECRET)).sign_in(None, None, header).user.id == "user-1"


def test_tokens_of_before_and_after_a_rotation_are_verified(npm_tokens: NpmTokens) -> None:
    """During the rotation of a secret, sessions of both secrets are valid."""
    keyring = Keyring("the new secret", [SECRET])
    orders = [
        {"by": by, "claims": CLAIMS, "secret": secret, "salt": V5}
        for by in ("authjs", "authjs A256GCM", "jsonwebtoken")
        for secret in (SECRET, "the new secret")
    ]
    for token in npm_tokens(orders):
        assert keyring.verify(token)["id"] == "user-1"


def test_a_development_token_is_one_that_the_app_accepts(npm_tokens: NpmTokens) -> None:
    """jsonwebtoken, the app's library, accepts tokens signed here."""
    token = sign(CLAIMS, SECRET, expires_in=60)
    [claims] = npm_tokens([{"by": "jsonwebtoken verify", "token": token, "secret": SECRET}])
    assert CLAIMS.items() <= claims.items()
