"""Types as JSON Schema (draft 2020-12, and what draft 7 understands too)."""

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any

import msgspec

Schema = dict[str, Any]


def schemas_of(types: Iterable[Any], reference: str) -> tuple[list[Schema], dict[str, Schema]]:
    """The schema of each type, and the definitions of the Structs, dataclasses and models within them, by name.

    `reference` has `{name}` in it.
    """
    models: dict[str, Schema] = {}

    def of_model(model: Any) -> Schema:
        """The schema of a pydantic model, whose definitions are put beside those of msgspec."""
        if model is object:
            return {}
        schema: Schema = model.model_json_schema(ref_template=reference.replace("{name}", "{model}"))
        models.update(schema.pop("$defs", {}))
        if "$ref" not in schema:
            models[model.__name__] = schema
        return {"$ref": reference.format(name=model.__name__)}

    schemas, definitions = msgspec.json.schema_components(types, schema_hook=of_model, ref_template=reference)
    definitions |= models
    for definition in definitions.values():
        if "description" in definition:
            definition["description"] = cleandoc(definition["description"])
    return list(schemas), definitions
