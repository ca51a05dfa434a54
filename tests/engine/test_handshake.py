import json
from dataclasses import replace

import pytest
from tests.support.sessions import request_of

from synkora.engine import handshake
from synkora.engine.handshake import HandshakeRefused, Refusal
from synkora.engine.origins import OWN_PAGE, Origins
from synkora.engine.request import Request
from synkora.engine.settings import EngineSettings

SETTINGS = EngineSettings(origins=Origins(["https://app.example.com"]))


def check(request: Request, settings: EngineSettings, *, websocket: bool, page: str | None = None) -> str | None:
    return handshake.check(request, settings, {"abc": page}.get, websocket=websocket)


def test_a_request_without_an_id_opens_a_session() -> None:
    """Each transport opens by GET, with version 4."""
    assert check(request_of("EIO=4&transport=polling"), SETTINGS, websocket=False) is None
    assert check(request_of("EIO=4&transport=websocket"), SETTINGS, websocket=True) is None


def test_a_request_with_an_id_is_for_that_session() -> None:
    """The id is returned for polls, posts and upgrades."""
    assert check(request_of("EIO=4&transport=polling&sid=abc"), SETTINGS, websocket=False) == "abc"
    assert check(request_of("EIO=4&transport=polling&sid=abc", "POST"), SETTINGS, websocket=False) == "abc"
    assert check(request_of("EIO=4&transport=websocket&sid=abc"), SETTINGS, websocket=True) == "abc"


@pytest.mark.parametrize(
    ("code", "method", "websocket", "queries"),
    [
        (
            Refusal.UNKNOWN_TRANSPORT,
            "GET",
            False,
            ["EIO=4", "EIO=4&transport=flash", "EIO=4&transport=flash&sid=abc"],
        ),
        (Refusal.UNSUPPORTED_VERSION, "GET", False, ["transport=polling", "EIO=3&transport=polling"]),
        (Refusal.UNSUPPORTED_VERSION, "GET", True, ["EIO=abc&transport=websocket"]),
        (Refusal.BAD_METHOD, "POST", False, ["EIO=4&transport=polling"]),
        (Refusal.BAD_METHOD, "PUT", False, ["EIO=4&transport=polling"]),
        (Refusal.BAD_REQUEST, "GET", False, ["EIO=4&transport=websocket", "EIO=4&transport=websocket&sid=abc"]),
        (Refusal.BAD_REQUEST, "GET", True, ["EIO=4&transport=polling", "EIO=4&transport=polling&sid=abc"]),
    ],
)
def test_each_error_has_its_code(code: Refusal, method: str, websocket: bool, queries: list[str]) -> None:
    """Transport, method, version and kind of request are checked, with Engine.IO's error codes."""
    for query in queries:
        with pytest.raises(HandshakeRefused) as refused:
            check(request_of(query, method), SETTINGS, websocket=websocket)
        assert (refused.value.code, refused.value.status) == (code, 400), query


def test_a_transport_that_is_switched_off_is_unknown() -> None:
    """If only WebSocket is allowed, polling is refused, and vice versa."""
    only = EngineSettings(transports=("websocket",))
    with pytest.raises(HandshakeRefused) as refused:
        check(request_of("EIO=4&transport=polling"), only, websocket=False)
    assert refused.value.code is Refusal.UNKNOWN_TRANSPORT
    assert check(request_of("EIO=4&transport=websocket"), only, websocket=True) is None


@pytest.mark.parametrize("query", ["EIO=4&transport=polling", "EIO=4&transport=polling&sid=abc"])
def test_a_page_that_is_not_allowed_is_forbidden(query: str) -> None:
    """The origin is checked on every request, not only on the first."""
    with pytest.raises(HandshakeRefused) as refused:
        check(request_of(query, origin="https://evil.net"), SETTINGS, websocket=False)
    assert (refused.value.code, refused.value.status) == (Refusal.FORBIDDEN, 403)
    assert "https://evil.net" in str(refused.value)


def test_the_websocket_of_a_page_that_has_its_session_already() -> None:
    """A proxy may hide the origin of the server's own page, which the page's polls have shown."""
    request = request_of("EIO=4&transport=websocket&sid=abc", origin="https://other.example.com")
    assert check(request, SETTINGS, websocket=True, page="https://other.example.com") == "abc"
    assert check(request, SETTINGS, websocket=True, page=OWN_PAGE) == "abc"
    for page in (None, "https://evil.net"):
        with pytest.raises(HandshakeRefused):
            check(request, SETTINGS, websocket=True, page=page)
    new = request_of("EIO=4&transport=websocket", origin="https://other.example.com")
    with pytest.raises(HandshakeRefused):
        check(new, SETTINGS, websocket=True, page="https://other.example.com")


def test_the_answer_has_a_code_and_a_message() -> None:
    """The body is Engine.IO's JSON. Message and status can be given."""
    assert json.loads(HandshakeRefused(Refusal.UNKNOWN_SESSION).body) == {"code": 1, "message": "Session ID unknown"}
    refusal = HandshakeRefused(Refusal.BAD_REQUEST, "two polls", status=405)
    assert (json.loads(refusal.body), refusal.status) == ({"code": 3, "message": "two polls"}, 405)


@pytest.mark.parametrize(
    "name", ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js", "socket.io.js.map"]
)
def test_a_request_for_the_client_files_gets_advice(name: str) -> None:
    """A Node.js server serves the client's files. This one answers 404 with a message."""
    with pytest.raises(HandshakeRefused, match="install socket") as refused:
        check(replace(request_of(""), path=f"/socket.io/{name}"), EngineSettings(), websocket=False)
    assert refused.value.status == 404


def test_jsonp_is_refused_with_a_message() -> None:
    """A client that expects scripts cannot read other answers. Over WebSocket the parameter is ignored."""
    with pytest.raises(HandshakeRefused, match="JSONP is not supported") as refused:
        check(request_of("EIO=4&transport=polling&j=0"), EngineSettings(), websocket=False)
    assert refused.value.status == 400
    assert check(request_of("EIO=4&transport=websocket&j=0"), EngineSettings(), websocket=True) is None
