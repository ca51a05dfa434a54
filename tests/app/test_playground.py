"""The playground's page and tokens, as a browser requests them."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from tests.collaboration.site import Site

from synkora.app.health import make_app
from synkora.app.instance import Instance
from synkora.app.playground import USERS, playground_routes
from synkora.app.settings import Settings
from synkora.identity.tokens import Keyring

SECRET = "Rk2c7W9sVx0mQpYtB4nE6uHjLzAqD1fG3iKoS5wTvXy="
PATHS = ("/playground", "/playground/assets/main-1a2b.js", "/playground/token")
HERE = "http://localhost:3001"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Playground</title>")
    (tmp_path / "licences.md").write_text("# Licences")
    (tmp_path / "assets" / "main-1a2b.js").write_text("start();")
    return tmp_path


def app_of(files: Path, **given: Any) -> Starlette:
    """The server's pages with these settings."""
    settings = Settings(**{"NEXTAUTH_SECRET": SECRET, **given}, _env_file=None)
    site = Site()
    return make_app(Instance(site.server, site.collaboration), playground_routes(settings, files))


@pytest.fixture
def app(files: Path) -> Starlette:
    """The server's pages in development, with the built page."""
    return app_of(files)


async def ask(app: Starlette, method: str, path: str, *, peer: str = "127.0.0.1", **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, client=(peer, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=HERE) as http:
        return await http.request(method, path, headers={name.replace("_", "-"): headers[name] for name in headers})


async def test_the_page(app: Starlette) -> None:
    """It may load only this server's files, no other site may frame it, and it is never cached."""
    answer = await ask(app, "GET", "/playground")
    assert (answer.status_code, answer.text) == (200, "<!doctype html><title>Playground</title>")
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"].split("; ")
    assert policy[0] == "default-src 'self'"
    assert "frame-ancestors 'self'" in policy
    assert answer.headers["cache-control"] == "no-cache"


async def test_assets(app: Starlette) -> None:
    """They have their content type. Browsers cache them permanently: their names contain a hash."""
    answer = await ask(app, "GET", "/playground/assets/main-1a2b.js")
    assert (answer.status_code, answer.text) == (200, "start();")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["/playground/licences.md", "/playground/assets/", "/playground/assets/other.js"])
async def test_nothing_else_is_served(app: Starlette, path: str) -> None:
    assert (await ask(app, "GET", path)).status_code == 404


async def test_a_slash_too_many(app: Starlette) -> None:
    """A redirect to the page, whose links are relative to the address without the slash."""
    answer = await ask(app, "GET", "/playground/")
    assert (answer.status_code, answer.headers["location"]) == (308, "/playground")


@pytest.mark.parametrize("path", ["..%2findex.html", "%2e%2e/index.html", "%2fetc%2fpasswd", "..%5cindex.html"])
async def test_no_path_leads_out_of_the_assets(app: Starlette, path: str) -> None:
    """The name is looked up among the built assets, and never opened as a path."""
    assert (await ask(app, "GET", f"/playground/assets/{path}")).status_code == 404


async def test_it_is_not_there_in_production(files: Path) -> None:
    app = app_of(files, SYNKORA_ENV="production")
    for path in PATHS:
        for method in ("GET", "POST"):
            assert (await ask(app, method, path)).status_code == 404


async def test_a_page_that_has_not_been_built(tmp_path: Path) -> None:
    """The response names the command that builds it."""
    answer = await ask(app_of(tmp_path), "GET", "/playground")
    assert answer.status_code == 503
    assert "make web" in answer.text
    assert "Node.js" in answer.text


async def test_a_token_signs_in_as_a_user_of_the_playground(app: Starlette) -> None:
    """By default the first user. The token lasts an hour, and the user's id does not exist in the app."""
    for query, name in (("", USERS[0]), (f"?as={USERS[1]}", USERS[1])):
        answer = await ask(app, "POST", f"/playground/token{query}", origin=HERE)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        claims = Keyring(SECRET).verify(answer.json()["token"])
        assert (claims["id"], claims["name"]) == (f"playground:{name.lower()}", name)
        assert isinstance(claims["exp"], int)
        assert claims["exp"] <= time.time() + 3601
        assert SECRET not in answer.text


async def test_a_token_comes_with_connection_options(files: Path) -> None:
    app = app_of(files, WS_PATH="/live/", WS_TRANSPORTS="websocket")
    answer = (await ask(app, "POST", "/playground/token")).json()
    assert (answer["path"], answer["transports"]) == ("/live/", ["websocket"])
    assert answer["users"] == list(USERS)


@pytest.mark.parametrize("name", ["Mallory", "alice", "", "user-1"])
async def test_other_names_get_no_token(app: Starlette, name: str) -> None:
    """Only names of the playground: no token belongs to a user of the app."""
    answer = await ask(app, "POST", f"/playground/token?as={name}")
    assert answer.status_code == 404
    assert USERS[0] in answer.text


async def test_tokens_are_not_for_links(app: Starlette) -> None:
    """Only POST gets a token."""
    assert (await ask(app, "GET", "/playground/token")).status_code == 404


@pytest.mark.parametrize(
    "host", ["localhost:3001", "127.0.0.1:3001", "[::1]:3001", "demo.localhost", "192.168.1.5:3001"]
)
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_browsers_of_this_machine_get_tokens(app: Starlette, host: str, peer: str) -> None:
    """With any of the machine's own names in the address."""
    answer = await ask(app, "POST", "/playground/token", peer=peer, host=host, origin=f"http://{host}")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"host": "evil.example:3001", "origin": "http://evil.example:3001"},
        {"host": "localhost.evil.example"},
        {"host": "["},
        {"x_forwarded_for": "192.0.2.7"},
        {"forwarded": "for=192.0.2.7"},
        {"x_real_ip": "192.0.2.7"},
        {"via": "1.1 proxy"},
        {"x_forwarded": "for=192.0.2.7"},
        {"x_forwarded_proto": "https"},
        {"x_forwarded_port": "443"},
        {"x_forwarded_server": "proxy"},
        {"x_client_ip": "192.0.2.7"},
        {"cf_connecting_ip": "192.0.2.7"},
        {"true_client_ip": "192.0.2.7"},
        {"x_original_host": "evil.example"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
    ids=str,
)
async def test_other_sites_and_proxies_get_no_token(app: Starlette, headers: dict[str, str]) -> None:
    """Also not a page whose name was made to resolve to this machine. The refusal has advice."""
    answer = await ask(app, "POST", "/playground/token", **headers)
    assert answer.status_code == 403
    assert "ssh -L" in answer.text


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_its_own_page_gets_tokens(app: Starlette, site: str) -> None:
    """The browser's fetch metadata says same-origin, or none for an address that the user has typed."""
    assert (await ask(app, "POST", "/playground/token", origin=HERE, sec_fetch_site=site)).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example@localhost",
        "localhost/evil",
        "localhost#evil",
        "localhost?evil",
        "localhost\\.evil.example",
        "local\thost",
        "",
    ],
)
async def test_a_request_with_an_invalid_host_gets_no_token(app: Starlette, host: str) -> None:
    """Host is a name and a port, and nothing else of an address (RFC 9110 section 7.2)."""
    assert (await ask(app, "POST", "/playground/token", host=host)).status_code == 403


@pytest.mark.parametrize("peer", ["192.0.2.7", "10.0.0.8", "fe80::1", "::ffff:192.0.2.7", ""])
async def test_other_machines_get_no_token(app: Starlette, peer: str) -> None:
    """Not even in the same network, whatever their headers say."""
    assert (await ask(app, "POST", "/playground/token", peer=peer, origin=HERE)).status_code == 403
