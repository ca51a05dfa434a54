r"""Lone surrogates in JSON. JavaScript writes them as escapes (`"\ud83d"`) when it has cut a character in two.

UTF-8 cannot represent a lone surrogate, called a half here, and msgspec accepts UTF-8 only. So each distinct half is
replaced by a mark: a private-use character that the text does not contain. After decoding the mark is replaced back.
Source: ECMA-262, "Well-formed JSON.stringify".
"""

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

MAX_HALVES: Final = 10_000  # halves accepted in one text; a half costs far more time than other text
REPLACEMENT: Final = "\ufffd"

# The first alternative skips text without halves in one match; the group is a half.
HALVES: Final = re.compile(
    rb"(?:[^\\]++|\\(?!u[dD][89a-fA-F]).|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})++"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})",
    re.DOTALL,
)
_HALF: Final = re.compile("[\ud800-\udfff]")
_PRIVATE: Final = range(0xE000, 0xF900)
_USED: Final = re.compile("[\ue000-\uf8ff]")
_USED_ESCAPE: Final = re.compile("\\\\u[eEfF][0-9a-fA-F]{3}")  # candidates
_ESCAPE: Final = re.compile(rb"\\u[ef][0-9a-f]{3}")


def upper_bound(data: bytes) -> int:
    """Return an upper bound of the halves in a JSON text; surrogates of whole pairs are counted too."""
    return data.count(rb"\ud") + data.count(rb"\uD")


class MarkedText:
    """JSON with marks in place of halves. `text` can be decoded, and `restore` puts the halves back.

    Raises `ValueError` if the text has no half or too many, or is not UTF-8.
    """

    def __init__(self, data: bytes) -> None:
        if rb"\ud" not in data and rb"\uD" not in data:
            raise ValueError("no half of a surrogate pair")
        self._free = _free_marks(data.decode())
        self._halves: dict[bytes, bytes] = {}  # mark to half, both as escapes
        self._marks: dict[bytes, bytes] = {}
        self._count = 0
        # Each half may have a match of other text before it; one more shows that there are too many.
        self.text = HALVES.sub(self._mark, data, 2 * MAX_HALVES + 2)
        if not 0 < self._count <= MAX_HALVES:
            raise ValueError("no half of a surrogate pair, or too many")

    def _mark(self, found: re.Match[bytes]) -> bytes:
        half: bytes | None = found[1]
        if half is None:
            return found[0]
        self._count += 1
        mark = self._marks.get(half)
        if mark is None:
            mark = self._marks[half] = b"\\u%x" % next(self._free)
            self._halves[mark] = half
        return mark

    def restore(self, value: Any, *, keeps: bool) -> Any:
        """Return `value` with halves in place of marks. In strings U+FFFD replaces each mark unless `keeps`."""
        halves = {_code(mark): chr(_code(half)) if keeps else REPLACEMENT for mark, half in self._halves.items()}

        def raw(found: msgspec.Raw) -> msgspec.Raw:
            data = bytes(found)
            restored = _ESCAPE.sub(lambda mark: self._halves.get(mark[0], mark[0]), data)
            return msgspec.Raw(restored) if restored != data else found  # keeps the identity of a default value

        return _changed(value, lambda text: text.translate(halves), raw)


def encode(value: Any, encoder: Callable[[Any], bytes]) -> bytes:
    """Return a value as JSON, with each half in its strings as an escape."""
    halves: dict[str, str] = {}

    def note(found: re.Match[str]) -> str:
        halves[found[0]] = ""
        return REPLACEMENT

    without = encoder(_changed(value, lambda text: _HALF.sub(note, text)))
    free = _free_marks(without.decode())
    marks = {half: chr(next(free)) for half in halves}
    data = encoder(_changed(value, lambda text: _HALF.sub(lambda found: marks[found[0]], text)))
    for half, mark in marks.items():
        data = data.replace(mark.encode(), b"\\u%x" % ord(half))
    return data


def replaced(value: Any) -> Any:
    """Return a value with U+FFFD in place of each half in its strings."""
    return _changed(value, lambda text: _HALF.sub(REPLACEMENT, text))


def has_half(data: bytes) -> bool:
    """Whether a JSON text has a half."""
    if rb"\ud" not in data and rb"\uD" not in data:
        return False
    return any(found[1] is not None for found in HALVES.finditer(data))


def _free_marks(text: str) -> Iterator[int]:
    used = set(map(_code, _USED_ESCAPE.findall(text)))
    if not text.isascii():
        used.update(map(ord, _USED.findall(text)))
    return (code for code in _PRIVATE if code not in used)


def _code(escape: str | bytes) -> int:
    digits = escape[2:]
    return int(digits, 16)


def _same(value: msgspec.Raw) -> msgspec.Raw:
    return value


def _changed(value: Any, text: Callable[[str], str], raw: Callable[[msgspec.Raw], msgspec.Raw] = _same) -> Any:
    """Return a copy of a value; `text` converts its strings and `raw` its `Raw`s."""
    match value:
        case str():
            return text(value)
        case msgspec.Raw():
            return raw(value)
        case dict():
            return {_changed(key, text): _changed(item, text, raw) for key, item in value.items()}
        case list() | tuple():
            return [_changed(item, text, raw) for item in value]
        case msgspec.Struct():
            return type(value)(**{name: _changed(getattr(value, name), text, raw) for name in value.__struct_fields__})
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [each.name for each in dataclasses.fields(value)]
            return {name: _changed(getattr(value, name), text, raw) for name in names}
        case _:
            return value
