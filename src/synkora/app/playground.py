"""The playground: a project page for trying the server, and tokens for its users.

Only for development: a playground token gives access to every project with open access.
"""

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from synkora.app.local_requests import is_local
from synkora.app.settings import Settings
from synkora.app.static_pages import PLAYGROUND, page_routes
from synkora.identity.tokens import sign

#: The users of the playground. The app has no users with these ids, so a token gives access to no real account.
USERS: Final = ("Alice", "Bob", "Carol", "Dave", "Frank", "Judy")

_LIFETIME: Final = 3600  # seconds; the page asks for a new token whenever it connects
_ELSEWHERE: Final = (
    "The playground signs in browsers on the machine that the server runs on, and no others: open it there at "
    "http://localhost, or bring the server's port to yours with ssh -L 3001:localhost:3001."
)


def playground_routes(settings: Settings, files: Path = PLAYGROUND) -> list[Route]:
    """Return the routes below `/playground`; an empty list in production."""
    if not settings.has_playground:
        return []
    secret = settings.secret.get_secret_value()

    async def token(request: Request) -> Response:
        if not is_local(request):
            return PlainTextResponse(_ELSEWHERE, 403)
        name = request.query_params.get("as", USERS[0])
        if name not in USERS:
            return PlainTextResponse(f"Nobody here has that name; there are {', '.join(USERS)}.", 404)
        return JSONResponse(
            {
                "token": sign({"id": f"playground:{name.lower()}", "name": name}, secret, expires_in=_LIFETIME),
                "name": name,
                "users": USERS,
                "path": settings.path,
                "transports": settings.transports,
            },
            headers={"cache-control": "no-store"},
        )

    return [*page_routes("playground", files, frames_itself=True), Route("/playground/token", token, methods=["POST"])]
