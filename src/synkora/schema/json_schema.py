"""Types as JSON Schema, valid in draft 2020-12 and in draft 7."""

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any, Final

import msgspec

Schema = dict[str, Any]

#: The schema of `object`: msgspec refuses an empty one.
_ANY_VALUE: Final[Schema] = {"title": "Any value"}


def schemas_of(
    types: Iterable[Any], reference: str, taken: Iterable[str] = ()
) -> tuple[list[Schema], dict[str, Schema]]:
    """Return the schema of each type, and the definitions of the Structs, dataclasses and models in them, by name.

    `reference` contains `{name}`. Different types of one name, and types with a name that is `taken`, are named with
    their modules. Raises `TypeError` for different types that have the same name in the same module.
    """
    types, taken = list(types), list(taken)
    # msgspec and pydantic add the module to a name that two types have: placeholders have the taken names.
    placeholders = [msgspec.defstruct(name, (), module=__name__) for name in taken]
    models: dict[Any, Schema] = {object: _ANY_VALUE}
    _, found = _components([*types, *placeholders], reference, models)
    of_models = _define_models(models, reference, {*found, *taken})
    schemas, definitions = _components([*types, *placeholders], reference, models)
    for name in taken:
        definitions.pop(name, None)
        definitions.pop(f"{__name__}.{name}", None)
    definitions |= of_models
    for definition in definitions.values():
        if "description" in definition:
            definition["description"] = cleandoc(definition["description"])
    return schemas[: len(types)], definitions


def _components(types: list[Any], reference: str, models: dict[Any, Schema]) -> tuple[list[Schema], dict[str, Schema]]:
    """Describe types by msgspec. `models` has the schemas of pydantic models, and gets those that it lacks as keys."""
    try:
        schemas, definitions = msgspec.json.schema_components(
            types, schema_hook=lambda model: models.setdefault(model, _ANY_VALUE), ref_template=reference
        )
    except KeyError as error:  # it names types by module and name at most
        (same,) = error.args
        raise TypeError(
            f"different types are named {same.__qualname__} in {same.__module__}: give each a name of its own"
        ) from None
    return list(schemas), definitions


def _define_models(models: dict[Any, Schema], reference: str, taken: set[str]) -> dict[str, Schema]:
    """Put references into `models`, and return the definitions of the pydantic models, by names that are not taken."""
    found = [model for model in models if model is not object]
    if not found:
        return {}
    from pydantic import create_model
    from pydantic.json_schema import models_json_schema

    placeholders = [create_model(name, __module__=__name__) for name in sorted(taken)]
    references, whole = models_json_schema(
        [(model, "validation") for model in (*found, *placeholders)],
        ref_template=reference.replace("{name}", "{model}"),
    )
    definitions: dict[str, Schema] = whole.get("$defs", {})
    models |= {model: references[model, "validation"] for model in found}
    written = [references[placeholder, "validation"] for placeholder in placeholders]
    return {
        name: definition
        for name, definition in definitions.items()
        if {"$ref": reference.format(name=name)} not in written
    }
