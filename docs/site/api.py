"""Writes docs/api.md from the docstrings of the public names: `python docs/site/api.py`."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Never

import synkora
import synkora.testing.plugin

PAGE: Final = Path(__file__).parents[1] / "api.md"
_HEAD: Final = """\
# API reference

<!-- Written by docs/site/api.py from the docstrings: edit those. -->

Every public name, with its docstring. [library.md](library.md) shows how they belong together. Names are imported from
`synkora`, those of the last parts from `synkora.testing` and `synkora.testing.plugin`.
"""
#: In the order of a reader's interest; all others follow.
ORDER: Final = (
    *("SocketServer", "Namespace", "NamespaceHandlers", "event", "Socket", "Broadcast", "RemoteSocket", "Handshake"),
    *("ConnectRefused", "EventRefused", "AckTimeout", "TooManyCalls", "NO_ACK", "serve", "serve_async"),
    *("serve_in_thread", "Emitter", "SyncEmitter", "EmitFailed"),
)
_MODULE: Final = re.compile(r"\b(?:[a-z_]+\.)+(?=[A-Z])")
_ADDRESS: Final = re.compile(r"<(?:function|class|object) [^>]*>")


def page() -> str:
    """The page as the docstrings have it now."""
    names = [*ORDER, *sorted(set(synkora.__all__) - {*ORDER, "__version__"})]
    parts = [_HEAD]
    for name in names:
        parts += _entry(name, getattr(synkora, name))
    parts.append("\n# synkora.testing\n\n" + _text(synkora.testing))
    for name in ("connect", "Client", "ConnectError", "ClientClosed"):
        parts += _entry(name, getattr(synkora.testing, name))
    parts.append("\n# synkora.testing.plugin\n\n" + _text(synkora.testing.plugin))
    return "".join(parts)


def _entry(name: str, value: Any) -> Iterator[str]:
    yield f"\n## {name}\n\n"
    if not isinstance(value, type):
        if callable(value):
            yield f"```py\n{_signature(name, value)}\n```\n\n"
            yield _text(value)
        else:
            yield _text(type(value))
        return
    yield f"```py\n{_signature(name, value)}\n```\n\n"
    yield _text(value)
    for member, found in sorted(_members(value), key=lambda each: each[0]):
        if isinstance(found, property):
            returned = inspect.signature(found.fget).return_annotation if found.fget is not None else Any
            yield f"\n### {name}.{member}\n\n```py\n{member}: {_plain(returned)}\n```\n\n{_text(found)}"
        else:
            yield f"\n### {name}.{member}\n\n```py\n{_signature(member, found)}\n```\n\n{_text(found)}"


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    for name in dir(cls):
        if name.startswith("_"):
            continue
        value = inspect.getattr_static(cls, name)
        if isinstance(value, staticmethod | classmethod):
            value = getattr(cls, name)
        is_member = callable(value) or isinstance(value, property)
        if is_member and inspect.getdoc(value) and not _is_builtin(cls, name):
            yield name, value


def _is_builtin(cls: type, name: str) -> bool:
    return any(name in vars(base) for base in cls.__mro__ if base.__module__ == "builtins")


def _signature(name: str, value: Any) -> str:
    """A signature, one parameter a line where it is long."""
    kind = "async def" if inspect.iscoroutinefunction(value) else "class" if isinstance(value, type) else "def"
    try:
        found = inspect.signature(value)
    except ValueError:  # an exception that takes what `Exception` takes
        found = inspect.signature(Exception.__init__)
    parameters = [each for each in found.parameters.values() if each.name != "self" and each.annotation is not Never]
    end = "" if isinstance(value, type) else f" -> {_plain(found.return_annotation)}"
    found = found.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    text = _plain(str(found))
    short = f"{kind} {name}{text}{end}"
    if len(short) <= 100:
        return short
    lines = "".join(f"\n    {line}," for line in _split(text[1:-1]))
    return f"{kind} {name}({lines}\n){end}"


def _split(parameters: str) -> Iterator[str]:
    depth, begin = 0, 0
    for index, sign in enumerate(parameters):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            yield parameters[begin:index].strip()
            begin = index + 1
    yield parameters[begin:].strip()


def _plain(value: Any) -> str:
    """An annotation without the modules of its names."""
    if value is inspect.Signature.empty:
        return "Any"
    text = value if isinstance(value, str) else inspect.formatannotation(value)
    text = _ADDRESS.sub("...", text)
    return _MODULE.sub("", text).replace("~", "").replace("'", '"')  # quotes as ruff wants them in a document


def _text(value: Any) -> str:
    return (inspect.getdoc(value) or "").rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
