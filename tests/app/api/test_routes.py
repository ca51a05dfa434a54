"""What all endpoints have in common: tokens, limits and refusals."""

from typing import Any

import pytest
from tests.app.api.backend import TOKENS, Backend
from tests.support.logs import capture_logs

from synkora.app.token_guard import MOST_FAILURES
from synkora.engine.incidents import IncidentKind

MOVE = {"event": "task:move", "data": {"taskId": "t1"}}
PATHS = [("GET", "/cluster"), ("GET", "/nowhere"), ("PUT", "/cluster"), ("GET", "/openapi.json")]


@pytest.mark.parametrize("token", TOKENS)
async def test_each_token_is_accepted(backend: Backend, token: str) -> None:
    assert (await backend.send("GET", "/cluster", token)).status_code == 200


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", f"Basic {TOKENS[0]}", f"Bearer {TOKENS[0]}x"])
async def test_nothing_is_told_without_a_token(backend: Backend, method: str, path: str, authorization: str) -> None:
    answer = await backend.send(method, path, headers={"authorization": authorization})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert not any(token in answer.text for token in TOKENS)


async def test_wrong_tokens_have_to_wait_and_right_ones_do_not(backend: Backend) -> None:
    """All come from one address, such as that of a proxy which the server does not know."""
    for _ in range(MOST_FAILURES):
        assert (await backend.send("GET", "/cluster", "wrong")).status_code == 401
    answer = await backend.send("GET", "/cluster", "wrong")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert backend.site.server.incidents.totals[IncidentKind.API_SIGN_IN_REFUSED] == MOST_FAILURES + 1
    for token in TOKENS:
        assert (await backend.send("GET", "/cluster", token)).status_code == 200


async def test_requests_are_limited() -> None:
    """A burst of two seconds' worth is accepted."""
    backend = Backend(rate=5)
    for _ in range(10):
        assert (await backend.send("GET", "/cluster")).status_code == 200
    answer = await backend.send("GET", "/cluster")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert "LIMIT_API_RATE" in answer.json()["detail"]


async def test_the_api_is_served_on_its_port_alone() -> None:
    """The test's requests come to port 3001."""
    assert (await Backend(port=3001).send("GET", "/cluster")).status_code == 200
    status, detail = await Backend(port=3002).problem("GET", "/cluster")
    assert (status, detail) == (404, "the API is served on API_PORT")


async def test_an_unknown_path_or_method(backend: Backend) -> None:
    assert await backend.problem("GET", "/projects/p") == (404, "the API has no such path")
    answer = await backend.send("PATCH", "/blocks")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("options", "status", "detail"),
    [
        ({"content": b"{}"}, 415, "content-type has to be application/json"),
        ({"data": {"event": "task:move"}}, 415, "content-type has to be application/json"),
        ({"json": MOVE, "headers": {"content-encoding": "gzip"}}, 415, "a body must not be compressed"),
        (
            {"json": {"event": "task:move", "data": {"taskId": "x" * 100_000}}},
            413,
            "a body may have up to 100000 bytes",
        ),
        ({"content": b'{"event":', "headers": {"content-type": "application/json"}}, 400, "truncated"),
        ({"content": b"\xff", "headers": {"content-type": "application/json"}}, 400, ""),
        (
            {"content": b"[" * 50_000, "headers": {"content-type": "application/json"}},
            422,
            "Expected object, got array",
        ),
        ({"json": MOVE, "headers": {"idempotency-key": "two words"}}, 422, "Idempotency-Key: 1 to 200 characters"),
        ({"json": MOVE, "headers": {"idempotency-key": "x" * 201}}, 422, "Idempotency-Key: 1 to 200 characters"),
        ({"json": MOVE, "params": {"x": "1"}}, 422, "x: there is no such parameter"),
    ],
)
async def test_a_wrong_request_is_refused(backend: Backend, options: dict[str, Any], status: int, detail: str) -> None:
    found = await backend.problem("POST", "/projects/p/events", **options)
    assert found[0] == status
    assert detail in found[1]


async def test_a_long_project_id_is_refused(backend: Backend) -> None:
    status, detail = await backend.problem("GET", f"/projects/{'p' * 201}/presence")
    assert (status, detail) == (422, "projectId: Expected str of length <= 200")


async def test_a_failure_is_logged_and_answered(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer does not contain the reason."""

    def fail() -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(backend.instance, "stats", fail)
    with capture_logs() as logs:
        status, detail = await backend.problem("GET", "/cluster")
    assert (status, detail) == (500, "the server has failed: its log has the reason")
    assert [entry["event"] for entry in logs] == ["api_failed"]
