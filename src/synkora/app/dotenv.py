"""Dotenv files, read as the web app reads them: by the rules of Next.js' package @next/env.

Source: vercel/next.js, packages/next-env/index.ts, which holds dotenv 16.3.1 and dotenv-expand 10.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

#: JavaScript's white space and line ends, which differ from Python's `\\s`, `^` and `$`.
_BLANKS: Final = "\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_BLANK: Final = re.compile(f"[{_BLANKS}]")
_BEGIN: Final = r"(?:\A|(?<=[\n\u2028\u2029]))"
_END: Final = r"(?=[\n\u2028\u2029]|\Z)"
_LINE: Final = re.compile(
    rf"{_BEGIN}[{_BLANKS}]*(?:export[{_BLANKS}]+)?(?P<name>[A-Za-z0-9_.-]+)(?:[{_BLANKS}]*?=[{_BLANKS}]*?|:[{_BLANKS}]+?)"
    rf"(?P<value>[{_BLANKS}]*'(?:\\'|[^'])*'|[{_BLANKS}]*\"(?:\\\"|[^\"])*\"|[{_BLANKS}]*`(?:\\`|[^`])*`|[^#\r\n]+)?"
    rf"[{_BLANKS}]*(?:#[^\n\r\u2028\u2029]*)?{_END}"
)
_QUOTED: Final = re.compile(rf"{_BEGIN}(['\"`])([\s\S]*)\1{_END}")
_REFERENCE: Final = re.compile(r"(?<!\\)\$\{?(?P<name>[A-Za-z0-9_]+)(?::-(?P<default>[^}\\]*))?\}?")
_DOLLAR: Final = re.compile(r"(?<!\\)\$")
_SUBSTITUTION: Final = re.compile(r"\$([$&`'])")
_MOST_REFERENCES: Final = 1000  # in one value: a value that refers to itself never ends


def file_names(mode: str) -> tuple[str, ...]:
    """Return the files of a mode, `development` or `production`, by precedence."""
    return (f".env.{mode}.local", ".env.local", f".env.{mode}", ".env")


def load(files: Iterable[Path], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment plus the variables of the existing files. The environment wins, then the earlier file.

    References are also resolved in a variable of the environment that a file sets too. A file with circular references
    counts as empty. Raises `UnicodeDecodeError` and `OSError`.
    """
    process = dict(environment)
    found: dict[str, str] = {}
    for file in files:
        if not (file.is_file() or file.is_fifo()):
            continue
        try:
            parsed = _expanded(parse(file.read_text(encoding="utf-8")), process)
        except RecursionError:
            continue
        process |= parsed
        found |= {name: value for name, value in parsed.items() if name not in found and name not in environment}
    return process | found


def parse(text: str) -> dict[str, str]:
    """Return the variables in a file's text, unquoted, with references unresolved."""
    return {line["name"]: _value(line["value"] or "") for line in _LINE.finditer(re.sub(r"\r\n?", "\n", text))}


def _value(written: str) -> str:
    trimmed = _trimmed(written)
    value = _QUOTED.sub(lambda match: match[2], trimmed)
    return value.replace("\\n", "\n").replace("\\r", "\r") if trimmed.startswith('"') else value


def _trimmed(text: str) -> str:
    begin, end = 0, len(text)
    while begin < end and _BLANK.match(text[begin]):
        begin += 1
    while end > begin and _BLANK.match(text[end - 1]):
        end -= 1
    return text[begin:end]


def _expanded(parsed: dict[str, str], process: Mapping[str, str]) -> dict[str, str]:
    for name, value in parsed.items():
        parsed[name] = _resolved(process.get(name, value), process, parsed).replace("\\$", "$")
    return parsed


def _resolved(value: str, process: Mapping[str, str], parsed: Mapping[str, str]) -> str:
    """Resolve a value's references, the last first. Raises `RecursionError` for circular references."""
    for _ in range(_MOST_REFERENCES):
        last = max((found.start() for found in _DOLLAR.finditer(value)), default=len(value))
        reference = _REFERENCE.search(value, last)
        if reference is None:
            return value
        name = reference["name"]
        content = process.get(name) or reference["default"] or parsed.get(name) or ""
        value = _replaced(value, reference[0], content)
    raise RecursionError


def _replaced(value: str, reference: str, content: str) -> str:
    """Replace the first such reference like JavaScript's `replace`: `content` may have patterns such as `$&`."""
    before, _, after = value.partition(reference)
    meanings = {"$": "$", "&": reference, "`": before, "'": after}
    return before + _SUBSTITUTION.sub(lambda match: meanings[match[1]], content) + after
