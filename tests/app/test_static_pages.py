"""The pages' files, as browsers ask for them."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from synkora.app.static_pages import page_routes

SCRIPT = "start();\n" * 500
FONT = b"wOF2" + bytes(500)
FILES = {
    "/page": "<!doctype html><title>Page</title>" + " " * 500,
    "/page/assets/main-1a2b.js": SCRIPT,
    "/page/assets/icon-1a2b.svg": "<svg/>" * 50,
}


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that accepts no compression by default."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text(FILES["/page"])
    for path in list(FILES)[1:]:
        (tmp_path / path.removeprefix("/page/")).write_text(FILES[path])
    (tmp_path / "assets" / "font-1a2b.woff2").write_bytes(FONT)
    transport = httpx.ASGITransport(Starlette(routes=page_routes("page", tmp_path)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        http.headers["accept-encoding"] = "identity"
        yield http


@pytest.mark.parametrize("encodings", ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, GZIP;q=0.5", "*"])
@pytest.mark.parametrize("path", FILES)
async def test_a_file_is_compressed(browser: httpx.AsyncClient, path: str, encodings: str) -> None:
    plain = await browser.get(path)
    answer = await browser.get(path, headers={"accept-encoding": encodings})
    assert (answer.status_code, answer.text) == (200, FILES[path])
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < len(FILES[path]) / 2
    for name in ("content-type", "cache-control", "vary", "x-content-type-options"):
        assert answer.headers[name] == plain.headers[name]


@pytest.mark.parametrize("encodings", ["identity", "", "gzip;q=0, *", "br, zstd"])
@pytest.mark.parametrize("path", FILES)
async def test_a_file_is_plain_for_others(browser: httpx.AsyncClient, path: str, encodings: str) -> None:
    """`Vary` names Accept-Encoding."""
    answer = await browser.get(path, headers={"accept-encoding": encodings})
    assert (answer.status_code, answer.text) == (200, FILES[path])
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "accept-encoding"


async def test_a_font_is_compressed_already(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/page/assets/font-1a2b.woff2", headers={"accept-encoding": "gzip"})
    assert answer.content == FONT
    assert "content-encoding" not in answer.headers
