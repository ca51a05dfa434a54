"""The playground: a project page to try the server with, and the tokens that its people sign in with.

For development alone: whoever may ask for a token may join what everyone signed in may join.
"""

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from synkora.app.settings import Settings
from synkora.engine.addresses import parse_address
from synkora.engine.origins import Origins
from synkora.identity.tokens import sign

#: Who a browser can be. Their ids are none of the app's, so that a token opens nobody's account.
PEOPLE: Final = ("Alice", "Bob", "Carol", "Dave", "Frank", "Judy")
#: Where `make web` builds the page.
FILES: Final = Path(__file__).parent / "web" / "playground"

_LIFETIME: Final = 3600  # seconds; the page asks for a new token whenever it connects
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
# What proxies add. A proxy on this machine has a local address, whoever it asks for.
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

_NOT_BUILT: Final = (
    "The playground has not been built: run `make web`, which takes Node.js 20.19 or newer, and start the server again."
)
_ELSEWHERE: Final = (
    "The playground signs in browsers on the machine that the server runs on, and no others: open it there at "
    "http://localhost, or bring the server's port to yours with ssh -L 3001:localhost:3001."
)


def is_built(files: Path = FILES) -> bool:
    """Whether the page is there to be served."""
    return (files / "index.html").is_file()


def playground_routes(settings: Settings, files: Path = FILES) -> list[Route]:
    """What answers below `/playground`: nothing in production.

    The page's files are read here, once: what is asked for is never a path.
    """
    if settings.environment == "production":
        return []
    page = Response((files / "index.html").read_bytes(), 200, _PAGE, "text/html") if is_built(files) else None
    assets = {
        file.name: Response(file.read_bytes(), 200, _ASSET, _TYPES[file.suffix])
        for file in files.glob("assets/*")
        if file.suffix in _TYPES
    }
    secret = settings.secret.get_secret_value()

    async def show(_: Request) -> Response:
        return page or PlainTextResponse(_NOT_BUILT, 503)

    async def asset(request: Request) -> Response:
        return assets.get(request.path_params["name"]) or PlainTextResponse("Not Found", 404)

    async def token(request: Request) -> Response:
        if not _is_local(request):
            return PlainTextResponse(_ELSEWHERE, 403)
        name = request.query_params.get("as", PEOPLE[0])
        if name not in PEOPLE:
            return PlainTextResponse(f"Nobody here has that name; there are {', '.join(PEOPLE)}.", 404)
        return JSONResponse(
            {
                "token": sign({"id": f"playground:{name.lower()}", "name": name}, secret, expires_in=_LIFETIME),
                "name": name,
                "people": PEOPLE,
                "path": settings.path,
                "transports": settings.transports,
            },
            headers={"cache-control": "no-store"},
        )

    return [
        Route("/playground", show),
        Route("/playground/assets/{name}", asset),
        Route("/playground/token", token, methods=["POST"]),
    ]


def _is_local(request: Request) -> bool:
    """Whether a request was made by a page of this server's, or by a program, on this machine.

    A page of another site can have its own name resolve to this machine, and so be of the same origin as this server:
    addresses and localhost are the names that nobody else can have.
    """
    headers = request.headers
    host, origin = headers.get("host", ""), headers.get("origin")
    return (
        _comes_from_here(request)
        and not any(name in headers for name in _FORWARDED)
        and _is_local_name(host)
        and (origin is None or Origins.is_same(origin, host))
    )


def _comes_from_here(request: Request) -> bool:
    if request.client is None:
        return False
    peer = parse_address(request.client.host)
    own = parse_address(request.scope["server"][0])
    return peer is not None and (peer.is_loopback or peer == own)


def _is_local_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or parse_address(name) is not None
