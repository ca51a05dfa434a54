"""The catalogue as text, in each of its forms."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from synkora.app.api import openapi
from synkora.app.schema import asyncapi, json_schema, typescript


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


FORMS: Final[Mapping[str, Callable[[], str]]] = {
    "asyncapi": lambda: _json(asyncapi.document()),
    "json-schema": lambda: _json(json_schema.document()),
    "openapi": lambda: _json(openapi.document()),
    "typescript": typescript.document,
}
