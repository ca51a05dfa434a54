"""The types of events' arguments as TypeScript."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from synkora.schema.json_schema import Schema, schemas_of

#: Makes schemas of types, as `schemas_of` does.
Describe = Callable[[Iterable[Any], str, Iterable[str]], tuple[list[Schema], dict[str, Schema]]]

#: The types that `type_of` writes. A declaration of the same name would replace them.
_BUILT_IN: Final = ("Array", "Record", "boolean", "number", "string", "unknown")


class Types:
    """Writes the given types in TypeScript, and the interfaces that they refer to; `describe` makes their schemas.

    Types with one of the names `taken`, like different types of one name, are named with their modules.
    """

    def __init__(self, types: Iterable[Any], taken: Iterable[str] = (), describe: Describe = schemas_of) -> None:
        self._types = list(types)  # a type may have no hash: its schema is found by its id
        schemas, self._definitions = describe(self._types, "{name}", (*taken, *_BUILT_IN))
        self._schemas = {id(shape): schema for shape, schema in zip(self._types, schemas, strict=True)}

    def of(self, *types: Any) -> str:
        """Return the union of some of the given types."""
        return " | ".join(dict.fromkeys(type_of(self._schemas[id(shape)]) for shape in types))

    def interfaces(self) -> Iterator[str]:
        """Yield the interfaces of all types that were referred to."""
        for name, schema in self._definitions.items():
            comment = f"\n/** {schema['description']} */" if "description" in schema else ""
            if "properties" not in schema:
                yield f"{comment}\nexport type {_identifier(name)} = {type_of(schema)};\n"
                continue
            yield f"{comment}\nexport interface {_identifier(name)} {{\n"
            for field, value in schema["properties"].items():
                yield member(value.get("description"), field, type_of(value), field in schema.get("required", ()))
            yield "}\n"


def _identifier(name: str) -> str:
    """Return the name of a definition as TypeScript allows it: `chat.Task` is `chat__Task`, like pydantic's names."""
    return re.sub(r"\W", "_", name.replace(".", "__"))


def member(description: str | None, name: str, type: str, is_required: bool = True) -> str:
    """Return a member of an interface."""
    comment = f"  /** {description} */\n" if description else ""
    return f"{comment}  {name if name.isidentifier() else json.dumps(name)}{'' if is_required else '?'}: {type};\n"


def type_of(schema: Schema) -> str:
    """Return the type of a schema's valid values, as precisely as TypeScript allows."""
    match schema:
        case {"$ref": name}:
            return _identifier(name)
        case {"anyOf": alternatives}:
            return " | ".join(dict.fromkeys(type_of(each) for each in alternatives))
        case {"const": value}:
            return json.dumps(value)
        case {"enum": values}:
            return " | ".join(json.dumps(value) for value in values)
        case {"type": "array", "prefixItems": items}:
            return f"[{', '.join(type_of(item) for item in items)}]"
        case {"type": "array", "items": dict() as items}:
            return f"Array<{type_of(items)}>"
        case {"type": "array"}:
            return "Array<unknown>"
        case {"type": "object", "properties": properties}:
            required = schema.get("required", ())
            parts = (
                f"{json.dumps(name)}{'' if name in required else '?'}: {type_of(value)}"
                for name, value in properties.items()
            )
            return f"{{ {'; '.join(parts)} }}"
        case {"type": "object", "additionalProperties": dict() as values}:
            return f"Record<string, {type_of(values)}>"
        case {"type": "object"}:
            return "Record<string, unknown>"
        case {"type": "integer" | "number"}:
            return "number"
        case {"type": "string" | "boolean" | "null" as name}:
            return str(name)
        case _:
            return "unknown"
