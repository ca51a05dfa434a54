"""The OpenAPI document, and requests that are made from it."""

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from tests.app.api.backend import TOKENS, Backend

from synkora.app.api.openapi import document
from synkora.collaboration.failure_backoff import FailureBackoff


@pytest.fixture(scope="module")
def described() -> Any:
    return document()


async def test_the_document_is_served(backend: Backend) -> None:
    served = (await backend.send("GET", "/openapi.json")).json()
    assert served == document()
    assert served["openapi"] == "3.1.0"
    assert len(served["paths"]) == 10


def test_examples_are_those_of_the_catalogue(described: Any) -> None:
    """Each published event has one."""
    kinds = described["components"]["schemas"]["EventToPublish"]["oneOf"]
    assert [kind["title"] for kind in kinds] == [
        *("task:create", "task:update", "task:delete", "task:move"),
        *("canvas:update", "markdown:update", "spreadsheet:cell-update", "spreadsheet:batch-update"),
    ]
    assert kinds[3]["examples"] == [{"event": "task:move", "data": {"taskId": "task_1", "status": "DONE"}}]


def test_every_refusal_is_a_problem(described: Any) -> None:
    text = json.dumps(described)
    assert text.count("application/problem+json") == sum(
        len(operation["responses"]) - 1 for path in described["paths"].values() for operation in path.values()
    )


_backend = Backend(max_body=1_000_000)
_backend.route._guard._failures = FailureBackoff(0)  # requests without a token are tried too
#: A position may be no longer kept (410).
_CONFIG = {
    "auth": {"openapi": {"token": {"bearer": TOKENS[0]}}},
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "404", "410"]}},
}
_schema = schemathesis.openapi.from_asgi(
    "/api/v1/openapi.json",
    _backend.app,
    headers={"authorization": f"Bearer {TOKENS[0]}"},
    config=SchemathesisConfig.from_dict(_CONFIG),
)


@_schema.parametrize()
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_made_up_requests_are_answered_as_described(case: Case[Any]) -> None:
    case.call_and_validate()
