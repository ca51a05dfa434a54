"""Socket.IO inside a Django project, on its port: the project's `asgi.py`, here with its settings and its URLs.

Run from this folder: uvicorn django_app:application --port 3000 --ws django_app:server.websocket_protocol
docs/integrating.md has the commands of other ASGI servers, and what a page does.
"""

from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from synkora import Socket, SocketServer

server = SocketServer()
main = server.of("/")


# `async`, so that it runs in the event loop: a view that is not runs in a thread, where nothing may be emitted.
@csrf_exempt
async def announce(request: HttpRequest) -> HttpResponse:
    main.emit("announced", request.GET.get("text", ""))
    return HttpResponse(f"{len(main.sockets)} clients were told", content_type="text/plain")


@main.on("say")
def say(socket: Socket, text: str) -> str:
    socket.broadcast.emit("said", text)
    return "told the others"


urlpatterns = [path("announce", announce)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1", "localhost"])
django = get_asgi_application()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Django gets the requests outside Socket.IO's path. WebSockets, and the server's start and end, it cannot take."""
    is_django = scope["type"] == "http" and not scope["path"].startswith(server.settings.path)
    await (django if is_django else server.asgi)(scope, receive, send)
