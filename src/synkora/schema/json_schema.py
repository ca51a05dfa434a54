"""Types as JSON Schema, valid in draft 2020-12 and in draft 7."""

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any

import msgspec

Schema = dict[str, Any]


def schemas_of(types: Iterable[Any], reference: str) -> tuple[list[Schema], dict[str, Schema]]:
    """Return the schema of each type, and the definitions of the Structs, dataclasses and models in them, by name.

    `reference` contains `{name}`.
    """
    models: dict[str, Schema] = {}

    def of_model(model: Any) -> Schema:
        """Return the schema of a pydantic model, and add its definitions to msgspec's."""
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
