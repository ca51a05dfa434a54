"""The HTTP API as an OpenAPI 3.1 document."""

import re
from typing import Any, Final

from synkora import __version__
from synkora.app.api.endpoints import TABLE, Endpoint
from synkora.app.api.messages import MOST_EVENTS, PATH_PARAMETERS, EventToPublish
from synkora.app.api.problems import CONTENT_TYPE, ProblemDetails
from synkora.collaboration.events import CATALOGUE, Event
from synkora.schema.json_schema import Schema, schemas_of

_REFERENCE: Final = "#/components/schemas/{name}"
_EVERY: Final = {
    401: "The token is missing or wrong.",
    422: "The request is not what this endpoint expects.",
    429: "Too many requests, or too many wrong tokens.",
}
_PROBLEMS: Final = _EVERY | {
    400: "The body is not JSON, or is incomplete.",
    404: "There is no such thing.",
    409: "There is no space for another one.",
    410: "What the answer needs is no longer kept.",
    413: "The body is too large.",
    415: "The content type is not application/json, or the body is compressed.",
    503: "What the answer needs cannot be reached.",
}
_INFO: Final = (
    "For the backend of the web app: publish events to the members of a project, read what is kept and who is there, "
    "and disconnect, block or remove users. A request covers all instances that share a Redis."
)


def document() -> Schema:
    """Return the OpenAPI document of all endpoints."""
    definitions: dict[str, Schema] = {}
    paths: dict[str, Schema] = {}
    for endpoint in TABLE:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, definitions)
    _define(ProblemDetails, definitions)
    definitions["EventToPublish"] = _event_to_publish(definitions["EventToPublish"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Synkora's WebSocket server: HTTP API",
            "version": __version__,
            "description": _INFO,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "http://localhost:3001/api/v1"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "One of the tokens of API_TOKEN."}
            },
        },
    }


def _operation(endpoint: Endpoint, definitions: dict[str, Schema]) -> Schema:
    statuses = {*_EVERY, *endpoint.problems, *((400, 413, 415) if endpoint.body is not None else ())}
    operation: Schema = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        **({"description": endpoint.description} if endpoint.description else {}),
        "parameters": [*_path_parameters(endpoint, definitions), *_query_parameters(endpoint, definitions)],
        "responses": {
            "200": {
                "description": "Done.",
                "content": {"application/json": {"schema": _define(endpoint.answer, definitions)}},
            },
            **{str(status): _problem(status, definitions) for status in sorted(statuses)},
        },
    }
    if endpoint.body is not None:
        schema = _define(endpoint.body, definitions)
        for option in schema.get("anyOf", ()):
            if option.get("type") == "array":
                option |= {"minItems": 1, "maxItems": MOST_EVENTS}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if endpoint.method == "POST" and endpoint.path.endswith("/events"):
        operation["parameters"].append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
            }
        )
        operation["parameters"].append(
            {
                "name": "traceparent",
                "in": "header",
                "required": False,
                "description": "The caller's trace (W3C Trace Context). What is none is ignored.",
                "schema": {"type": "string"},
            }
        )
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    words = re.findall(r"[A-Za-z]+", endpoint.path)
    return endpoint.method.lower() + "".join(word[0].upper() + word[1:] for word in words)


def _path_parameters(endpoint: Endpoint, definitions: dict[str, Schema]) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _define(PATH_PARAMETERS[name], definitions)}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint, definitions: dict[str, Schema]) -> list[Schema]:
    if endpoint.query is None:
        return []
    name = endpoint.query.__name__
    _define(endpoint.query, definitions)
    shape = definitions.pop(name)
    required = shape.get("required", ())
    return [
        {"name": field, "in": "query", "required": field in required, "schema": schema}
        for field, schema in shape["properties"].items()
    ]


def _problem(status: int, definitions: dict[str, Schema]) -> Schema:
    return {
        "description": _PROBLEMS[status],
        "content": {CONTENT_TYPE: {"schema": _define(ProblemDetails, definitions)}},
    }


def _define(kind: Any, definitions: dict[str, Schema]) -> Schema:
    """Return a type's schema, and add the definitions that it refers to."""
    (schema,), found = schemas_of([kind], _REFERENCE)
    definitions.update(found)
    return schema


def _event_to_publish(schema: Schema) -> Schema:
    """Return the schema of an event with the data of each event of the catalogue."""
    published = [event for event in CATALOGUE if not event.sender]
    rest = {name: each for name, each in schema["properties"].items() if name not in ("event", "data")}
    return {
        "title": EventToPublish.__name__,
        "description": schema["description"],
        "oneOf": [
            {
                "title": event.name,
                "description": event.description,
                "type": "object",
                "properties": {"event": {"const": event.name}, "data": _data(event), **rest},
                "required": ["event", "data"],
                "additionalProperties": False,
                "examples": [{"event": event.name, "data": dict(event.example)}],
            }
            for event in published
        ],
    }


def _data(event: Event) -> Schema:
    names = (event.whole,) if event.whole else event.fields
    required = event.whole or event.key
    return {
        "type": "object",
        "properties": {name: {"examples": [event.example[name]]} for name in names},
        **({"required": [required]} if required else {}),
        "additionalProperties": False,
    }
