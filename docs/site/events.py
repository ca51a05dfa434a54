"""Writes the tables of docs/events.md from the catalogue: `python docs/site/events.py`."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from synkora.app.schema.json_schema import schemas_of
from synkora.collaboration.events import CATALOGUE, Event
from synkora.collaboration.server_events import CLIENT_EVENTS, SERVER_EVENTS, ClientEvent, ServerEvent
from synkora.schema.json_schema import Schema

PAGE: Final = Path(__file__).parents[1] / "events.md"

_TABLE: Final = re.compile(r"(<!-- (?P<name>[\w ]+): written by docs/site/events.py -->\n).*?(<!-- end -->)", re.DOTALL)


def page(text: str) -> str:
    """The page with its tables as the catalogue has them now. Raises `KeyError` for an unknown table."""
    tables = {"relayed events": _relayed(), "from the client": _asks(), "to the client": _notices()}
    return _TABLE.sub(lambda found: f"{found[1]}\n{tables[found['name']]}\n{found[3]}", text)


def _relayed() -> str:
    head = ("event", "it says", "payload", "what others get", "edit", "may be dropped", "log line")
    return _table(head, map(_relayed_row, CATALOGUE))


def _relayed_row(event: Event) -> list[str]:
    sent = (event.whole,) if event.whole else event.fields
    delivered = f"{{{', '.join((*event.sender, *event.fields))}}}"
    return [
        f"`{event.name}`",
        event.description.removesuffix("."),
        f"`{{{', '.join(('projectId', *sent))}}}`",
        f"`{event.whole or delivered}`",
        "yes" if event.edits else "no",
        "yes" if event.volatile else "no",
        event.logged or "-",
    ]


def _asks() -> str:
    return _table(("from the client", "what it does", "payload", "ack", "answered by"), map(_ask_row, CLIENT_EVENTS))


def _ask_row(ask: ClientEvent) -> list[str]:
    return [
        f"`{ask.name}`",
        ask.description,
        _shape(ask.payload) if ask.payload is not None else "none",
        " or ".join(map(_shape, ask.answers)) or "empty",
        ", ".join(f"`{reply}`" for reply in ask.replies) or "-",
    ]


def _notices() -> str:
    return _table(("to the client", "it says", "to whom", "payload"), map(_notice_row, SERVER_EVENTS))


def _notice_row(notice: ServerEvent) -> list[str]:
    return [f"`{notice.name}`", notice.description, notice.to, _shape(notice.payload)]


def _table(head: Iterable[str], rows: Iterable[list[str]]) -> str:
    columns = list(head)
    return "".join(f"| {' | '.join(row)} |\n" for row in (columns, ["---"] * len(columns), *rows))


def _shape(type: Any) -> str:
    """What is of a type, by the names of its fields; those that may be left out have a question mark."""
    (schema,), definitions = schemas_of([type], "{name}")
    return f"`{_drawn(schema, definitions)}`"


def _drawn(schema: Schema, definitions: dict[str, Schema]) -> str:
    match schema:
        case {"$ref": name}:
            return _drawn(definitions[name], definitions)
        case {"anyOf": alternatives}:
            return " or ".join(_drawn(each, definitions) for each in alternatives)
        case {"properties": fields, "required": required}:
            return (
                f"{{{', '.join(_field(name, field, name in required, definitions) for name, field in fields.items())}}}"
            )
        case {"type": "array", "items": items}:
            return f"[{_drawn(items, definitions)}]"
        case {"type": name}:
            return str(name)
    raise NotImplementedError(schema)  # no message has such a schema: this one is new


def _field(name: str, schema: Schema, is_required: bool, definitions: dict[str, Schema]) -> str:
    if "const" in schema:
        return f"{name}: {str(schema['const']).lower()}"
    written = name if is_required else f"{name}?"
    return f"{written}: {_drawn(schema, definitions)}" if schema.get("type") == "array" else written


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
