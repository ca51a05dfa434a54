"""The pages built by `make web`."""

import gzip
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from synkora.protocol.deflate import accepts_gzip

#: The folder in which `make web` builds the pages, each in a folder of its name.
_BUILT: Final = Path(__file__).parent / "web"
PLAYGROUND: Final = _BUILT / "playground"
CONSOLE: Final = _BUILT / "console"

_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_PAGE: Final = {
    "cache-control": "no-cache",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_POLICY: Final = "default-src 'self'; base-uri 'none'; form-action 'none'; object-src 'none'; frame-ancestors "
_SMALL_ALREADY: Final = frozenset((".woff2",))  # compressed formats
# Their names contain a hash of the content.
_ASSET: Final = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}


def is_built(files: Path) -> bool:
    """Whether a page has been built."""
    return (files / "index.html").is_file()


def page_routes(name: str, files: Path, *, frames_itself: bool = False) -> list[Route]:
    """Return the routes of the page `/name` and its assets; 503 with advice if it has not been built.

    No other site may frame the page, and only a page that `frames_itself` may be framed by this server's pages.
    The files are read once, here: no request's path reaches the file system.
    """
    headers = {**_PAGE, "content-security-policy": _POLICY + ("'self'" if frames_itself else "'none'")}
    page = _File(files / "index.html", headers) if is_built(files) else None
    assets = {file.name: _File(file, _ASSET) for file in files.glob("assets/*") if file.suffix in _TYPES}
    not_built = (
        f"The {name} has not been built. In a checkout, run `make web` (Node.js 20.19, 22.12 or newer), and start the "
        "server again. An installed server has the page if it was built before the installation."
    )

    async def show(request: Request) -> Response:
        return page.answer(request) if page else PlainTextResponse(not_built, 503)

    async def asset(request: Request) -> Response:
        found = assets.get(request.path_params["name"])
        return found.answer(request) if found else PlainTextResponse("Not Found", 404)

    async def without_slash(_: Request) -> Response:
        return RedirectResponse(f"/{name}", 308)

    return [
        Route(f"/{name}", show),
        Route(f"/{name}/", without_slash),
        Route(f"/{name}/assets/{{name}}", asset),
    ]


class _File:
    """A file that is served plain or compressed. It is compressed once, at the first request for gzip."""

    def __init__(self, path: Path, headers: Mapping[str, str]) -> None:
        self._content, self._type = path.read_bytes(), _TYPES[path.suffix]
        self._is_small = path.suffix in _SMALL_ALREADY
        self._headers = {**headers} if self._is_small else {**headers, "vary": "accept-encoding"}
        self._plain = Response(self._content, 200, self._headers, self._type)

    @cached_property
    def _compressed(self) -> Response:
        headers = {**self._headers, "content-encoding": "gzip"}
        return Response(gzip.compress(self._content, mtime=0), 200, headers, self._type)

    def answer(self, request: Request) -> Response:
        """Answer with the file in the encoding that the client accepts."""
        return self._compressed if not self._is_small and takes_gzip(request) else self._plain


def takes_gzip(request: Request) -> bool:
    """Whether a client accepts gzip (RFC 9110 section 12.5.3)."""
    return accepts_gzip(",".join(request.headers.getlist("accept-encoding")))
