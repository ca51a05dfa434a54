"""The pages that `make web` has built."""

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

#: Where `make web` builds them, each in a folder of its name.
BUILT: Final = Path(__file__).parent / "web"

_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_PAGE: Final = {
    "cache-control": "no-cache",
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; object-src 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
# Their names have a hash of what they hold.
_ASSET: Final = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}


def is_built(files: Path) -> bool:
    """Whether a page is there to be served."""
    return (files / "index.html").is_file()


def page_routes(name: str, files: Path) -> list[Route]:
    """The page `/name`, and its assets; 503, with what to do, where it has not been built.

    The files are read here, once: what is asked for is never a path.
    """
    page = Response((files / "index.html").read_bytes(), 200, _PAGE, "text/html") if is_built(files) else None
    assets = {
        file.name: Response(file.read_bytes(), 200, _ASSET, _TYPES[file.suffix])
        for file in files.glob("assets/*")
        if file.suffix in _TYPES
    }
    not_built = (
        f"The {name} has not been built: run `make web`, which takes Node.js 20.19 or newer, install the server again "
        "where it is not `make run` that starts it, and start it."
    )

    async def show(_: Request) -> Response:
        return page or PlainTextResponse(not_built, 503)

    async def asset(request: Request) -> Response:
        return assets.get(request.path_params["name"]) or PlainTextResponse("Not Found", 404)

    async def without_slash(_: Request) -> Response:
        return RedirectResponse(f"/{name}", 308)

    return [
        Route(f"/{name}", show),
        Route(f"/{name}/", without_slash),
        Route(f"/{name}/assets/{{name}}", asset),
    ]
