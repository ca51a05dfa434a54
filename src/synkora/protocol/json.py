"""JSON by msgspec. No other module encodes or decodes JSON by msgspec itself.

An application's data is decoded as `Raw`: the syntax is checked and the bytes are kept. Encoding copies these bytes.
msgspec does not check UTF-8 inside a `Raw`, so `is_utf8` checks whole messages on arrival.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

import msgspec

from synkora.protocol import surrogates
from synkora.protocol.errors import InvalidPayload, ProtocolError

Raw = msgspec.Raw
T = TypeVar("T")

_PATH: Final = re.compile(r"(?P<problem>.*) - at `(?P<path>[^`]*)`$", re.DOTALL)

#: Converts a value to a type that msgspec does not know. Raises `ValueError` or `TypeError` for an invalid value.
DecodeHook = Callable[[type, Any], Any]


def _dumped(value: Any) -> Any:
    """Return a pydantic model as JSON values. Detected by its method, so that pydantic is not required."""
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"an object of type {type(value).__name__} cannot be sent: JSON cannot hold it")
    return dump(mode="json", by_alias=True)


_encode: Final = msgspec.json.Encoder(enc_hook=_dumped).encode


def encode(value: Any) -> bytes:
    """Return a value as JSON. Raises `TypeError` for a value that JSON cannot represent."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return surrogates.encode(value, _encode)


def is_utf8(data: bytes) -> bool:
    """Whether `data` is valid UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def most_values(data: bytes) -> int:
    """Return an upper bound of the values inside the array or object in a JSON text."""
    return data.count(b",") + data.count(b"[") + data.count(b"{")


class Decoder(Generic[T]):
    """Decodes JSON of one shape, given as a type.

    `float_hook` converts the text of a number with a fraction or an exponent, where the shape allows any value.
    A lone surrogate stays as it is in a `Raw`, and in strings with `keeps_halves`. Otherwise U+FFFD replaces the lone
    surrogate in strings: a string with a lone surrogate is not valid Unicode, so many functions cannot encode it.
    """

    __slots__ = ("_decode", "_keeps_halves", "_marks_halves", "_shape")

    def __init__(
        self,
        shape: Any,
        float_hook: Callable[[str], Any] | None = None,
        *,
        dec_hook: DecodeHook | None = None,
        keeps_halves: bool = False,
    ) -> None:
        self._shape = shape
        self._keeps_halves = keeps_halves
        # None: not known until a text has a half. A hook would see the marks.
        self._marks_halves: bool | None = True if keeps_halves else None if dec_hook is None else False
        self._decode = msgspec.json.Decoder(shape, float_hook=float_hook, dec_hook=dec_hook).decode

    def decode(self, data: bytes) -> T:
        """Return the value of the JSON text `data`.

        Raises `ProtocolError` if `data` is not JSON (RFC 8259), `InvalidPayload` for another shape or too deep nesting.
        """
        try:
            return self._decode(data)  # type: ignore[no-any-return]  # the shape is a type only to the caller
        except msgspec.ValidationError as error:
            raise _invalid_payload(error) from None
        except msgspec.DecodeError as error:
            problem = str(error)
        except UnicodeDecodeError:
            raise ProtocolError("JSON is not valid UTF-8") from None
        except RecursionError:
            raise InvalidPayload("nested too deeply") from None
        return self._decode_with_halves(data, problem)

    def _decode_with_halves(self, data: bytes, problem: str) -> T:
        """Decode what msgspec refuses, if lone surrogates are the only problem."""
        try:
            if self._marks_halves is None:
                self._marks_halves = surrogates.may_hold_raw(self._shape)
            if self._marks_halves:
                marked = surrogates.MarkedText(data)
                with suppress(msgspec.ValidationError):  # a mark may be too long for the shape
                    value = self._decode(marked.text)
                    return marked.restore(value, keeps=self._keeps_halves)  # type: ignore[no-any-return]  # as above
            return self._decode(surrogates.without_halves(data))  # type: ignore[no-any-return]  # as above
        except msgspec.ValidationError as error:
            raise _invalid_payload(error) from None
        except (ValueError, msgspec.DecodeError):
            raise ProtocolError(problem) from None
        except RecursionError:
            raise InvalidPayload("nested too deeply") from None


def convert(value: Any, shape: Any, dec_hook: DecodeHook) -> Any:
    """Convert a decoded value, which may contain bytes, to `shape`. Raises `InvalidPayload`."""
    try:
        return msgspec.convert(value, shape, builtin_types=(bytes,), str_keys=True, dec_hook=dec_hook)
    except msgspec.ValidationError as error:
        raise _invalid_payload(error) from None
    except RecursionError:
        raise InvalidPayload("nested too deeply") from None


def _invalid_payload(error: msgspec.ValidationError) -> InvalidPayload:
    text = str(error)
    if found := _PATH.match(text):
        return InvalidPayload(found["problem"].replace("`", ""), found["path"].removeprefix("$").removeprefix("."))
    return InvalidPayload(text.replace("`", ""))
