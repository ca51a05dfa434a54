r"""Lone surrogates in JSON. JavaScript writes them as escapes (`"\ud83d"`) when it has cut a character in two.

UTF-8 cannot represent a lone surrogate, called a half here, and msgspec accepts UTF-8 only. So U+FFFD replaces each
half before decoding. Where halves are kept, a mark, text that nobody can guess, replaces the `\u` of each surrogate;
after decoding or encoding the mark is replaced back. C code searches the texts, however many halves they have.
Source: ECMA-262, "Well-formed JSON.stringify".
"""

import dataclasses
import json
import re
import secrets
from collections.abc import Callable
from types import NoneType
from typing import Any, Final

import msgspec
from msgspec import inspect

MAX_REPLACED: Final = 10_000  # halves in one text that are replaced before decoding
REPLACEMENT: Final = "\ufffd"

# In a text without escaped backslashes. A pair's second half begins like its first.
_ESCAPED_HALF: Final = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB]..\\u[dD])[c-fC-F][0-9a-fA-F]{2})",
    re.DOTALL,
)
_CUT_ESCAPE: Final = re.compile(rb"\\u[dD](?![0-9a-fA-F]{3})")
_HALF: Final = re.compile("[\ud800-\udfff]")
_ESCAPED_BACKSLASH: Final = rb"\\"
_STAND_IN: Final = b"\0\0"  # for an escaped backslash; no JSON has a NUL
_LEAVES: Final = frozenset((int, float, bool, NoneType, bytes))


def upper_bound(data: bytes) -> int:
    """Return an upper bound of the halves in a JSON text; surrogates of whole pairs are counted too."""
    return data.count(rb"\ud") + data.count(rb"\uD")


def has_half(data: bytes) -> bool:
    """Whether a JSON text has a half."""
    if rb"\ud" not in data and rb"\uD" not in data:
        return False
    return _ESCAPED_HALF.search(data.replace(_ESCAPED_BACKSLASH, _STAND_IN)) is not None


def without_halves(data: bytes) -> bytes:
    """Return a JSON text with U+FFFD in place of each half.

    Raises `ValueError` if the text has no half or too many.
    """
    # The text that replaces a half has no groups: `re` calls no Python code for a match.
    text, number = _ESCAPED_HALF.subn(rb"\\ufffd", _without_escaped_backslashes(data), MAX_REPLACED + 1)
    if not 0 < number <= MAX_REPLACED:
        raise ValueError("no half of a surrogate pair, or too many")
    return text.replace(_STAND_IN, _ESCAPED_BACKSLASH)


class MarkedText:
    """JSON with marks in place of halves. `text` can be decoded, and `restore` puts the halves back.

    Whole pairs have marks too, since a search for halves alone would take longer. Raises `ValueError` if the text has
    no surrogates.
    """

    def __init__(self, data: bytes) -> None:
        self._mark = "z" + secrets.token_hex(8)  # a hexadecimal digit would complete an escape that is cut before it
        mark = self._mark.encode()
        text = _without_escaped_backslashes(data)
        if _CUT_ESCAPE.search(text):
            raise ValueError("no JSON")
        text = text.replace(rb"\ud", mark + b"d").replace(rb"\uD", mark + b"D")
        self.text = text.replace(_STAND_IN, _ESCAPED_BACKSLASH)

    def restore(self, value: Any, *, keeps: bool) -> Any:
        """Return `value` with surrogates in place of marks. In strings U+FFFD replaces each half unless `keeps`.

        Raises `ValueError` if it `keeps` the halves and keys of an object become equal: others would see the last one
        of them, and `value` has another.
        """
        mark = self._mark
        escaped_mark = mark.encode()

        def text(found: str) -> str:
            if mark not in found:
                return found
            whole: str = json.loads(json.dumps(found).replace(mark, r"\u"))  # joins the pairs, and keeps the halves
            return whole if keeps else _HALF.sub(REPLACEMENT, whole)

        def raw(found: msgspec.Raw) -> msgspec.Raw:
            data = bytes(found)
            return msgspec.Raw(data.replace(escaped_mark, rb"\u")) if escaped_mark in data else found

        return _changed(value, text, raw, merges=not keeps)


def encode(value: Any, encoder: Callable[[Any], bytes]) -> bytes:
    """Return a value as JSON, with each half in its strings as an escape."""
    mark = secrets.token_hex(8)

    def text(found: str) -> str:
        return found if found.isascii() else _HALF.sub(lambda half: f"{mark}{ord(half[0]):x}", found)

    return encoder(_changed(value, text)).replace(mark.encode(), rb"\u")


def replaced(value: Any) -> Any:
    """Return a value with U+FFFD in place of each half in its strings."""
    return _changed(value, lambda text: text if text.isascii() else _HALF.sub(REPLACEMENT, text))


def may_hold_raw(shape: Any) -> bool:
    """Whether values of a type may hold a `Raw`."""
    seen = set()
    waiting: list[Any] = [inspect.type_info(shape)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, inspect.RawType):
            return True
        if isinstance(node, tuple):
            waiting += node
        elif isinstance(node, inspect.Type | inspect.Field) and id(node) not in seen:  # a type may contain itself
            seen.add(id(node))
            waiting += (getattr(node, name) for name in node.__struct_fields__)
    return False


def _without_escaped_backslashes(data: bytes) -> bytes:
    if rb"\ud" not in data and rb"\uD" not in data:
        raise ValueError("no half of a surrogate pair")
    if b"\0" in data:
        raise ValueError("no JSON")
    return data.replace(_ESCAPED_BACKSLASH, _STAND_IN)


def _same(value: msgspec.Raw) -> msgspec.Raw:
    return value


def _changed(
    value: Any, text: Callable[[str], str], raw: Callable[[msgspec.Raw], msgspec.Raw] = _same, merges: bool = True
) -> Any:
    """Return a copy of a value; `text` converts its strings and `raw` its `Raw`s.

    Raises `ValueError` if keys become equal, unless it `merges` them.
    """
    kind = type(value)
    if kind is str:
        return text(value)
    if kind is list or kind is tuple:
        return [item if type(item) in _LEAVES else _changed(item, text, raw, merges) for item in value]
    if kind is dict:
        changed = {
            text(key) if type(key) is str else _changed(key, text): (
                item if type(item) in _LEAVES else _changed(item, text, raw, merges)
            )
            for key, item in value.items()
        }
        if len(changed) < len(value) and not merges:
            raise ValueError("equal keys")
        return changed
    return _changed_object(value, text, raw, merges)


def _changed_object(
    value: Any, text: Callable[[str], str], raw: Callable[[msgspec.Raw], msgspec.Raw], merges: bool
) -> Any:
    """Return a copy of a value of a rarer type."""
    match value:
        case str():
            return text(value)
        case msgspec.Raw():
            return raw(value)
        case dict():
            return _changed(dict(value), text, raw, merges)
        case list() | tuple():
            return _changed(list(value), text, raw, merges)
        case set() | frozenset():
            return type(value)(_changed(list(value), text, raw, merges))
        case msgspec.Struct():
            fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
            new = {name: _changed(item, text, raw, merges) for name, item in fields if type(item) not in _LEAVES}
            return msgspec.structs.replace(value, **new)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [each.name for each in dataclasses.fields(value)]
            return {name: _changed(getattr(value, name), text, raw, merges) for name in names}
        case _:
            return value
