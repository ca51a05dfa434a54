import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwe, jws
from joserfc.jwk import OctKey, RSAKey
from tests.identity.forge import COOKIES, encrypted, segment, signed

from synkora.identity.errors import TokenInvalid
from synkora.identity.keys import authjs_v5_key, key_id, nextauth_v4_key
from synkora.identity.tokens import MAX_TOKEN_LENGTH, Keyring, is_compact_jose, sign

SECRET = "a secret of the tests, long enough"
CLAIMS = {"id": "user-1", "name": "Alice"}
KEYRING = Keyring(SECRET, ["a previous secret, which verifies too"])


def reason(keyring: Keyring, token: str, **options: Any) -> str:
    with pytest.raises(TokenInvalid) as refused:
        keyring.verify(token, **options)
    assert str(refused.value) == refused.value.reason
    return refused.value.reason


def test_a_cookie_of_another_name_salts_the_key() -> None:
    """A session of Auth.js v5 under the app's own name is opened, from its cookie and from CONNECT."""
    registry = jwe.JWERegistry(algorithms=["dir", "A256CBC-HS512"])
    key = authjs_v5_key(SECRET, "A256CBC-HS512", "acme.sid")
    token = jwe.encrypt_compact({"alg": "dir", "enc": "A256CBC-HS512"}, json.dumps(CLAIMS), key, registry=registry)
    keyring = Keyring(SECRET, session_cookie="acme.sid")
    for cookie_name in ("acme.sid", None):
        assert keyring.verify(token, cookie_name=cookie_name)["id"] == "user-1"
    assert reason(KEYRING, token) == "wrong key or tampered with"


class TestVectors:
    @pytest.mark.parametrize("kind", ["signed_hs256", "nextauth_v4", "authjs_v5", "authjs_v5_secure_cookie"])
    def test_each_kind_is_verified_without_knowing_its_cookie(
        self, keyring: Keyring, vectors: dict[str, Any], kind: str
    ) -> None:
        """A token from CONNECT or a Bearer header yields its claims, whichever package made it."""
        claims = keyring.verify(vectors["tokens"][kind])
        assert vectors["claims"].items() <= claims.items()
        assert isinstance(claims["exp"], int)

    @pytest.mark.parametrize(("kind", "cookie_name"), COOKIES)
    def test_each_kind_is_verified_from_its_own_cookie(
        self, keyring: Keyring, vectors: dict[str, Any], kind: str, cookie_name: str
    ) -> None:
        assert keyring.verify(vectors["tokens"][kind], cookie_name=cookie_name)["id"] == "user-1"

    def test_a_v5_token_from_another_cookie_is_refused(self, keyring: Keyring, vectors: dict[str, Any]) -> None:
        """If the cookie is known, only its name salts the key, as in Auth.js."""
        token = vectors["tokens"]["authjs_v5_secure_cookie"]
        assert reason(keyring, token, cookie_name="authjs.session-token") == "wrong key or tampered with"

    def test_an_expired_session_is_refused(self, keyring: Keyring, vectors: dict[str, Any]) -> None:
        """An expired encrypted token is distinguished from an undecipherable one."""
        assert reason(keyring, vectors["tokens"]["nextauth_v4_expired"]) == "expired"

    def test_a_token_of_another_secret_is_refused(self, keyring: Keyring, vectors: dict[str, Any]) -> None:
        assert reason(keyring, vectors["tokens"]["nextauth_v4_other_secret"]) == "wrong key or tampered with"

    @pytest.mark.parametrize("kind", ["signed_hs256", "nextauth_v4", "authjs_v5"])
    def test_any_changed_part_is_noticed(self, keyring: Keyring, vectors: dict[str, Any], kind: str) -> None:
        """No part of a token can be exchanged for one of the same length."""
        parts = vectors["tokens"][kind].split(".")
        for place, part in enumerate(parts):
            changed = [*parts[:place], ("A" if part[:1] != "A" else "B") + part[1:], *parts[place + 1 :]]
            assert reason(keyring, ".".join(changed)) in {"wrong key or tampered with", "malformed"}


class TestRotation:
    @pytest.mark.parametrize("make", [signed, encrypted])
    def test_a_previous_secret_still_verifies(self, make: Any) -> None:
        keyring = Keyring("the new secret of this app", [SECRET])
        assert keyring.verify(make(CLAIMS, SECRET))["id"] == "user-1"
        assert keyring.verify(make(CLAIMS, "the new secret of this app"))["id"] == "user-1"

    def test_a_v5_token_of_a_previous_secret_is_verified(self, vectors: dict[str, Any]) -> None:
        keyring = Keyring("the new secret of this app", ["an even older secret", vectors["secret"]])
        assert keyring.verify(vectors["tokens"]["authjs_v5"])["id"] == "user-1"

    def test_a_forgotten_secret_verifies_no_more(self) -> None:
        assert reason(Keyring("the new secret of this app"), signed(CLAIMS, SECRET)) == "wrong key or tampered with"

    def test_one_string_is_no_list_of_previous_secrets(self) -> None:
        """A secret instead of a list is an error, not a list of one-letter secrets."""
        with pytest.raises(TypeError, match="list of secrets"):
            Keyring(SECRET, "old")

    def test_an_empty_previous_secret_is_refused(self) -> None:
        """A surplus comma in the list of secrets does not admit everybody."""
        with pytest.raises(ValueError, match="empty"):
            Keyring(SECRET, [""])

    def test_a_weak_secret_works_without_warning(self) -> None:
        for secret in ("short", "-----BEGIN nothing"):
            assert Keyring(secret).verify(signed(CLAIMS, secret))["id"] == "user-1"


class TestAlgorithms:
    @pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "", "HS1", "hs256", 5, None, ["HS256"], {}])
    @pytest.mark.parametrize("good_signature", [True, False])
    def test_a_signature_of_no_accepted_algorithm_is_refused(self, algorithm: object, good_signature: bool) -> None:
        """Only HS256, HS384 and HS512 are accepted, whatever signature follows."""
        token = signed(CLAIMS, SECRET, {"alg": algorithm})
        if not good_signature:
            token = token.rpartition(".")[0] + "."
        assert reason(Keyring(SECRET), token) == "algorithm not accepted"

    def test_a_token_signed_with_a_private_key_is_refused(self) -> None:
        """RS256 is not accepted, and the key in its header is ignored."""
        key = RSAKey.generate_key(2048)
        public = key.as_dict(private=False)
        token = jws.serialize_compact({"alg": "RS256", "jwk": public}, json.dumps(CLAIMS), key, ["RS256"])
        assert reason(Keyring(SECRET), token) == "algorithm not accepted"

    def test_a_key_in_the_header_is_not_used(self) -> None:
        """A token cannot bring its own key."""
        intruder = "the intruder's own secret, long enough"
        header = {"jwk": {"kty": "oct", "k": segment(intruder.encode())}, "kid": "../../dev/null"}
        assert reason(Keyring(SECRET), signed(CLAIMS, intruder, header)) == "wrong key or tampered with"

    @pytest.mark.parametrize("kid", ["unknown", "", 7, None, ["x"], {"x": 1}])
    def test_a_strange_kid_neither_opens_nor_closes(self, kid: object) -> None:
        """A known kid only selects a key faster. For any other, all keys are tried."""
        if isinstance(kid, str):
            assert Keyring(SECRET).verify(encrypted(CLAIMS, SECRET, {"kid": kid}))["id"] == "user-1"
        token = f"{segment({'alg': 'dir', 'enc': 'A256GCM', 'kid': kid})}..AAAAAAAAAAAAAAAA.AAAA.{'A' * 22}"
        assert reason(Keyring(SECRET), token) == "wrong key or tampered with"

    @pytest.mark.parametrize(
        ("algorithm", "encryption", "size"),
        [("dir", "A128GCM", 128), ("dir", "A128CBC-HS256", 256), ("A256KW", "A256GCM", 256)],
    )
    def test_an_encryption_of_no_accepted_algorithm_is_refused(
        self, algorithm: str, encryption: str, size: int
    ) -> None:
        """Only `dir` with A256GCM or A256CBC-HS512 is accepted."""
        protected = {"alg": algorithm, "enc": encryption}
        token = jwe.encrypt_compact(protected, b"{}", OctKey.generate_key(size), [algorithm, encryption])
        assert reason(Keyring(SECRET), token) == "algorithm not accepted"

    def test_a_derived_key_signs_nothing(self) -> None:
        """The key that encrypts sessions verifies no signatures."""
        derived = nextauth_v4_key(SECRET)
        token = jws.serialize_compact({"alg": "HS256"}, json.dumps(CLAIMS), derived)
        assert reason(Keyring(SECRET), token) == "wrong key or tampered with"

    @pytest.mark.parametrize("length", [4, 8, 12, 15])
    def test_a_shortened_tag_is_refused(self, length: int) -> None:
        """A short tag of A256GCM could be guessed."""
        parts = encrypted(CLAIMS, SECRET).split(".")
        shortened = ".".join([*parts[:4], segment(b"\x00" * length)])
        assert reason(Keyring(SECRET), shortened) == "wrong key or tampered with"


class TestHeaders:
    def test_a_compressed_token_is_refused_unopened(self) -> None:
        """`zip` is refused even under the right key: a small token could become very large."""
        token = encrypted({**CLAIMS, "padding": "0" * 100_000}, SECRET, {"zip": "DEF"})
        assert len(token) < MAX_TOKEN_LENGTH
        assert reason(Keyring(SECRET), token) == "header not accepted"

    @pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"crit": 5}, {"b64": False, "crit": ["b64"]}, {"b64": True}])
    def test_a_header_that_demands_an_extension_is_refused(self, header: dict[str, Any]) -> None:
        assert reason(Keyring(SECRET), signed(CLAIMS, SECRET, header)) == "header not accepted"

    def test_a_kid_of_ours_leaves_no_other_key(self) -> None:
        other = key_id(authjs_v5_key(SECRET, "A256GCM", "authjs.session-token"))
        assert reason(Keyring(SECRET), encrypted(CLAIMS, SECRET, {"kid": other})) == "wrong key or tampered with"

    def test_an_unknown_header_is_ignored(self) -> None:
        """RFC 7515, section 4."""
        assert Keyring(SECRET).verify(signed(CLAIMS, SECRET, {"tenant": "a"}))["id"] == "user-1"

    @pytest.mark.parametrize("header", [b"[]", b'"HS256"', b"", b"{", b"\xff\xfe", b"[" * 5000, b"null", b"1" * 5000])
    def test_a_header_that_is_not_a_json_object_is_malformed(self, header: bytes) -> None:
        assert reason(Keyring(SECRET), f"{segment(header)}.e30.AAAA") == "malformed"

    def test_a_deeply_nested_header_is_refused(self) -> None:
        """Nesting in an otherwise valid header cannot exhaust the stack."""
        for depth in (100, 300, 900, 1500, 5000):
            header = b'{"alg":"HS256","x":' + b"[" * depth + b"]" * depth + b"}"
            token = f"{segment(header)}.e30.AAAA"
            assert reason(Keyring(SECRET), token) in {"malformed", "wrong key or tampered with"}


class TestForm:
    def test_a_token_over_the_limit_is_refused_unread(self) -> None:
        """A valid token of more than 16,384 characters is refused, a shorter one is not."""
        keyring = Keyring(SECRET)
        assert reason(keyring, signed({**CLAIMS, "padding": "0" * 13_000}, SECRET)) == "too long"
        assert keyring.verify(signed({**CLAIMS, "padding": "0" * 11_000}, SECRET))["id"] == "user-1"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("a.b.c", True),
            ("a..c.d.e", True),
            ("a.b.", True),
            ("a..", True),
            ("cmabc123", False),
            ("", False),
            ("..", False),
            ("a.b", False),
            ("a.b.c.d", False),
            ("a.b.c.d.e.f", False),
            ("a.b.c\n", False),
            ("a.b=.c", False),
            ("a.é.c", False),
            ("john.q@example.com", False),
        ],
    )
    def test_only_three_or_five_parts_of_base64url_are_a_token(self, text: str, expected: bool) -> None:
        """A user's id, which the page sends when it cannot read its cookie, is no token."""
        assert is_compact_jose(text) is expected

    @given(st.one_of(st.text(), st.from_regex(r"[\w-]*(\.[\w-]*){2,4}", fullmatch=True)))
    def test_any_text_is_refused_in_order(self, text: str) -> None:
        """Unsigned text raises only TokenInvalid."""
        with pytest.raises(TokenInvalid):
            KEYRING.verify(text)

    @given(st.sampled_from(["HS256", "HS512", "dir"]), st.sampled_from(["A256GCM", "A256CBC-HS512"]), st.data())
    def test_any_parts_after_a_good_header_are_refused_in_order(self, alg: str, enc: str, data: st.DataObject) -> None:
        """Unsigned bytes after a valid header raise only TokenInvalid."""
        parts = data.draw(st.lists(st.binary(max_size=40), min_size=2, max_size=4))
        token = ".".join([segment({"alg": alg, "enc": enc}), *map(segment, parts)])
        with pytest.raises(TokenInvalid):
            KEYRING.verify(token)

    @given(st.dictionaries(st.text(max_size=8), st.one_of(st.none(), st.integers(), st.text(), st.lists(st.text()))))
    def test_any_header_is_refused_in_order(self, header: dict[str, object]) -> None:
        for known in ({"alg": "HS256"}, {"alg": "dir", "enc": "A256GCM"}):
            tail = ".AAAA" * (2 if known["alg"] == "HS256" else 4)
            with pytest.raises(TokenInvalid):
                KEYRING.verify(segment({**known, **header}) + tail)


class TestSigning:
    def test_a_signed_token_is_verified(self) -> None:
        before = int(time.time())
        claims = Keyring(SECRET).verify(sign({"id": "user-1", "name": "Zoë 🚀"}, SECRET, expires_in=60))
        assert (claims["id"], claims["name"]) == ("user-1", "Zoë 🚀")
        issued_at, expires_at = claims["iat"], claims["exp"]
        assert isinstance(issued_at, int)
        assert isinstance(expires_at, int)
        assert before <= issued_at <= time.time()
        assert expires_at - issued_at == 60

    def test_each_signed_token_has_an_id_of_its_own(self) -> None:
        """Two tokens of the same claims differ in `jti`."""
        keyring = Keyring(SECRET)
        first, second = (keyring.verify(sign(CLAIMS, SECRET, expires_in=60)) for _ in range(2))
        assert first["jti"] != second["jti"]

    def test_a_signed_token_expires(self) -> None:
        """After its lifetime and the clock tolerance."""
        token = sign(CLAIMS, SECRET, expires_in=60)
        keyring = Keyring(SECRET)
        assert keyring.verify(token, now=time.time() + 70)["id"] == "user-1"
        assert reason(keyring, token, now=time.time() + 76) == "expired"

    def test_an_empty_secret_signs_nothing(self) -> None:
        with pytest.raises(ValueError, match="empty"):
            sign(CLAIMS, "", expires_in=60)
