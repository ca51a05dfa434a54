"""The user of a verified token: id, name and image, checked and cut to their limits."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from synkora.protocol.json import encode

ANONYMOUS: Final = "Anonymous"

MAX_ID_LENGTH: Final = 200
MAX_NAME_LENGTH: Final = 100
MAX_NAME_BYTES: Final = 400  # as JSON, since all members of a project get the name
MAX_EMAIL_LENGTH: Final = 254
MAX_IMAGE_BYTES: Final = 1024  # as JSON; enough for an address, too short for a picture in the token

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class User:
    """A signed-in user; `expires_at` is when the token expires, in seconds since 1970, or None.

    Only `id` is free of control characters. Logs must escape `name`.
    """

    id: str
    name: str = ANONYMOUS
    email: str | None = None
    image: str | None = None
    expires_at: float | None = None


def user_from_claims(claims: Mapping[str, object]) -> User | None:
    """Return the user of verified claims by `id`, else by `sub`; None without a valid id.

    An id is text of 1 to 200 characters without control characters, or an integer. A name is cut at 100
    characters and 400 bytes. An email of more than 254 characters and an image of more than 1,024 bytes are dropped,
    as a part of them is useless, and so is a `data:` image. Bytes are counted as JSON. `picture` comes before `image`.
    """
    user_id = _id(claims.get("id")) or _id(claims.get("sub"))
    if user_id is None:
        return None
    expires_at = claims.get("exp")
    return User(
        id=user_id,
        name=_name(claims.get("name")),
        email=_text(claims.get("email"), MAX_EMAIL_LENGTH),
        image=_image(claims.get("picture")) or _image(claims.get("image")),
        expires_at=float(expires_at) if isinstance(expires_at, int | float) else None,
    )


def _id(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        # A longer number is not an id, and Python refuses to convert very long ones.
        value = str(value) if value.bit_length() <= MAX_ID_LENGTH else None
    text = _text(value, MAX_ID_LENGTH)
    return None if text is None or _CONTROL.search(text) else text


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        return ANONYMOUS
    # Python counts two surrogate halves as two characters; for readers of UTF-16 the pair is one character.
    name = value[:MAX_NAME_LENGTH].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    while _size(name) > MAX_NAME_BYTES:
        name = name[:-1]
    return name


def _image(value: object) -> str | None:
    image = _text(value, MAX_IMAGE_BYTES)
    if image is None or _size(image) > MAX_IMAGE_BYTES or image.lstrip()[:5].lower() == "data:":
        return None
    return image


def _size(text: str) -> int:
    """Return the bytes of a text as JSON, without the quotes."""
    return len(encode(text)) - 2


def _text(value: object, limit: int) -> str | None:
    if not isinstance(value, str) or not value.strip() or len(value) > limit:
        return None
    return value if _is_unicode(value) else None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
