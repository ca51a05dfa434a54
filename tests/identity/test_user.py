import pytest
from hypothesis import given
from hypothesis import strategies as st

from synkora.identity.user import User, user_from_claims
from synkora.protocol.json import encode

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.text(st.characters())),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)


def user(**claims: object) -> User:
    found = user_from_claims({"id": "user-1", **claims})
    assert found is not None
    return found


def test_every_claim_has_its_place() -> None:
    claims = {"id": "user-1", "sub": "other", "name": "Alice", "email": "a@example.com", "picture": "p", "exp": 17}
    assert user_from_claims(claims) == User("user-1", "Alice", "a@example.com", "p", 17.0)


def test_all_but_an_id_may_be_missing() -> None:
    """A user without a name is Anonymous, without email, image and expiry."""
    assert user_from_claims({"id": "user-1"}) == User("user-1", "Anonymous", None, None, None)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"id": "a", "sub": "b"}, "a"),
        ({"sub": "b"}, "b"),
        ({"id": "", "sub": "b"}, "b"),
        ({"id": None, "sub": "b"}, "b"),
        ({"id": {"$oid": "1"}, "sub": "b"}, "b"),
        ({"id": 42}, "42"),
        ({"id": 0}, "0"),
        ({"id": -1}, "-1"),
        ({"sub": 42}, "42"),
        ({"id": "x" * 200}, "x" * 200),
        ({"id": "тест-🚀"}, "тест-🚀"),
    ],
)
def test_id_or_else_sub_names_the_user(claims: dict[str, object], expected: str) -> None:
    """The first of `id` and `sub` that is text or an integer."""
    found = user_from_claims(claims)
    assert found is not None
    assert found.id == expected


@pytest.mark.parametrize(
    "value", [None, "", "  ", True, False, 1.5, [], ["a"], {}, "x" * 201, 10**300, "a\x00b", "a\nb", "\x85", "\ud800"]
)
def test_an_invalid_id_names_no_user(value: object) -> None:
    """An empty or long one, one of another type, or one that is unsafe for logs or databases."""
    assert user_from_claims({"id": value}) is None
    assert user_from_claims({"sub": value}) is None


def test_no_claims_name_no_user() -> None:
    assert user_from_claims({"name": "Alice"}) is None


@pytest.mark.parametrize("name", [None, "", "  \t", 5, ["Alice"], {"first": "Alice"}])
def test_an_invalid_name_is_anonymous(name: object) -> None:
    assert user(name=name).name == "Anonymous"


def test_a_long_name_is_cut() -> None:
    """At 100 characters."""
    assert user(name="A" * 500).name == "A" * 100


def test_half_a_character_in_a_name_stays() -> None:
    """A lone surrogate, from an app that cuts a name, reaches the others unchanged. Two that match are one
    character.
    """
    assert user(name="A\ud83dB\udc00").name == "A\ud83dB\udc00"
    assert user(name="A\ud83d\ude80").name == "A🚀"
    assert user(name="A🚀").name == "A🚀"


@pytest.mark.parametrize("value", [None, "", " ", 5, [], {}, "x" * 1025, "\ud800"])
def test_an_invalid_image_or_email_is_left_out(value: object) -> None:
    assert user(email=value).email is None
    assert user(picture=value).image is None


@pytest.mark.parametrize(("name", "kept"), [("\x01" * 100, 66), ("🚀" * 100, 100), ('"' * 100, 100)])
def test_a_name_is_cut_where_it_is_too_long_in_json(name: str, kept: int) -> None:
    """Its encoded size counts, too: 400 bytes at most."""
    assert user(name=name).name == name[:kept]


@pytest.mark.parametrize("image", ["é" * 513, "\x01" * 200, '"' * 513, "data:image/png;base64,AAAA", " DATA:,x"])
def test_an_embedded_image_is_dropped(image: str) -> None:
    """More than 1,024 bytes in JSON are omitted, and so is a picture within the token itself."""
    assert user(picture=image).image is None
    assert user(picture=image, image="https://example.com/a.png").image == "https://example.com/a.png"


@pytest.mark.parametrize("image", ["é" * 512, "x" * 1024, "https://example.com/data:x"])
def test_an_address_of_a_usual_length_is_kept(image: str) -> None:
    """Up to 1,024 bytes, unchanged."""
    assert user(picture=image).image == image


def test_picture_goes_before_image() -> None:
    """`image` counts if `picture` is invalid."""
    assert user(picture="p", image="i").image == "p"
    assert user(picture=None, image="i").image == "i"
    assert user(picture="x" * 5000, image="i").image == "i"


def test_a_user_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        user().id = "user-2"  # type: ignore[misc]  # the very thing that must fail


@given(st.dictionaries(st.sampled_from(["id", "sub", "name", "email", "picture", "image"]), JSON))
def test_any_claims_make_a_valid_user_or_none(claims: dict[str, object]) -> None:
    """For any JSON, a user's fields are bounded text that UTF-8 can encode."""
    found = user_from_claims(claims)
    if found is None:
        return
    assert 1 <= len(found.id) <= 200
    assert 1 <= len(found.name) <= 100
    assert len(encode(found.name)) <= 402
    assert len(encode(found.image or "")) <= 1026
    for text in (found.id, found.name, found.email or "", found.image or ""):
        assert text.encode().decode() == text
