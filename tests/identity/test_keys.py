import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from joserfc.jwk import OctKey

from synkora.identity.keys import authjs_v5_key, key_id, nextauth_v4_key, signing_key


@pytest.mark.parametrize(
    ("kind", "salt"),
    [("authjs_v5", "authjs.session-token"), ("authjs_v5_secure_cookie", "__Secure-authjs.session-token")],
)
def test_a_key_has_the_id_that_authjs_gives_it(vectors: dict[str, Any], kind: str, salt: str) -> None:
    """The `kid` of Auth.js is the thumbprint of the derived key."""
    segment = vectors["tokens"][kind].partition(".")[0]
    header = json.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    assert key_id(authjs_v5_key(vectors["secret"], "A256CBC-HS512", salt)) == header["kid"]


def test_a_short_key_has_a_short_id() -> None:
    """A key of 32 bytes has its SHA-256 thumbprint (RFC 7638)."""
    key = OctKey.import_key(bytes(range(32)))
    assert key_id(key) == key.thumbprint()


def test_keys_have_the_size_that_their_encryption_needs() -> None:
    """A256GCM takes 32 bytes, and A256CBC-HS512 takes 64."""
    assert len(nextauth_v4_key("a secret").raw_value) == 32
    assert len(authjs_v5_key("a secret", "A256GCM", "salt").raw_value) == 32
    assert len(authjs_v5_key("a secret", "A256CBC-HS512", "salt").raw_value) == 64


def test_every_way_to_derive_gives_another_key() -> None:
    """For each version and salt, and different from the secret itself."""
    keys = [
        signing_key("a secret of just thirty-two bytes"),
        nextauth_v4_key("a secret"),
        nextauth_v4_key("a secret", "a"),
        nextauth_v4_key("a secret", "b"),
        authjs_v5_key("a secret", "A256GCM", "a"),
        authjs_v5_key("a secret", "A256GCM", "b"),
        authjs_v5_key("another secret", "A256GCM", "a"),
    ]
    assert len({key.raw_value for key in keys}) == len(keys)


@pytest.mark.parametrize("secret", ["", "\udcff"])
def test_an_invalid_secret_is_refused(secret: str) -> None:
    """An empty one, or one that is not text. No error quotes the secret."""
    with pytest.raises(ValueError, match="a secret must") as error:
        signing_key(secret)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_a_public_key_is_not_a_secret() -> None:
    """Otherwise anyone could sign tokens."""
    public_key = (
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
        "-----END PUBLIC KEY-----\n"
    )
    with pytest.raises(ValueError, match="public key"):
        signing_key(public_key)
