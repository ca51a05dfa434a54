"""JSON by msgspec: the one place that knows it.

An application's own data is decoded as `Raw`, which checks the syntax and keeps the bytes, and encoding splices a `Raw`
byte for byte. Invalid UTF-8 inside a `Raw` is not noticed: whole messages are checked with `is_utf8` on arrival.
"""

import re
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import msgspec

from synkora.protocol.errors import InvalidPayload, ProtocolError

Raw = msgspec.Raw
T = TypeVar("T")

# What is no half of a surrogate pair is passed over in one piece; a half is the group.
_HALVES: Final = re.compile(
    rb"(?:[^\\]|\\(?!u[dD][89a-fA-F]).|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})++"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})",
    re.DOTALL,
)
_MOST_HALVES: Final = 1000  # that are mended in one message: each costs far more than the rest of it
_PATH: Final = re.compile(r"(?P<problem>.*) - at `(?P<path>[^`]*)`$", re.DOTALL)

encode: Final = msgspec.json.Encoder().encode


def is_utf8(data: bytes) -> bool:
    """Whether `data` is valid UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Decoder(Generic[T]):
    """Decodes JSON of one shape, which is given as a type.

    `float_hook` makes of the text of a number with a fraction or an exponent what stands for it where anything may.
    """

    __slots__ = ("_decode",)

    def __init__(self, shape: Any, float_hook: Callable[[str], Any] | None = None) -> None:
        self._decode = msgspec.json.Decoder(shape, float_hook=float_hook).decode

    def decode(self, data: bytes) -> T:
        """Return the value that `data` holds.

        Raises `ProtocolError` for what is no JSON (RFC 8259), `InvalidPayload` for JSON of another shape or nested too
        deeply.
        """
        try:
            return self._decode(data)  # type: ignore[no-any-return]  # the shape is a type only to the caller
        except msgspec.ValidationError as error:
            raise _invalid_payload(error) from None
        except msgspec.DecodeError as error:
            # JavaScript writes half a surrogate pair as an escape; msgspec refuses it.
            mended = _mend_surrogates(data)
            if mended is None:
                raise ProtocolError(str(error)) from None
        except UnicodeDecodeError:
            raise ProtocolError("JSON is not valid UTF-8") from None
        except RecursionError:
            raise InvalidPayload("nested too deeply") from None
        return self.decode(mended)


def _mend_surrogates(data: bytes) -> bytes | None:
    """The same JSON with U+FFFD for each half of a surrogate pair; None where it has none, or too many."""
    if rb"\ud" not in data and rb"\uD" not in data:
        return None
    halves = 0

    def mend(found: re.Match[bytes]) -> bytes:
        nonlocal halves
        if found[1] is None:
            return found[0]
        halves += 1
        return rb"\ufffd"

    mended = _HALVES.sub(mend, data, 2 * _MOST_HALVES + 2)  # with what is between them, and one more
    return mended if 0 < halves <= _MOST_HALVES else None


def _invalid_payload(error: msgspec.ValidationError) -> InvalidPayload:
    text = str(error)
    if found := _PATH.match(text):
        return InvalidPayload(found["problem"].replace("`", ""), found["path"].removeprefix("$").removeprefix("."))
    return InvalidPayload(text.replace("`", ""))
