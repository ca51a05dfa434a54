"""The namespace for the Admin UI: its password, and its commands."""

from typing import Any, Final

import structlog

from synkora.app.admin_ui.credentials import Credentials
from synkora.app.admin_ui.own_answers import AdminUiInstance
from synkora.app.admin_ui.watch import INTERVAL, Watch
from synkora.app.instance import Instance
from synkora.app.token_guard import MOST_FAILURES
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.engine.incidents import IncidentKind
from synkora.sockets.errors import ConnectRefused, EventRefused
from synkora.sockets.internals import session_of
from synkora.sockets.namespace import Namespace
from synkora.sockets.socket import Socket

NAMESPACE: Final = "/admin"

_WRONG: Final = "invalid credentials"  # on this message the UI shows its sign-in form again
_TOO_MANY: Final = "too many wrong passwords have come from your address: wait a minute"

log = structlog.get_logger(__name__)


def serve_admin_ui(instance: Instance, token: str, *, interval: float = INTERVAL) -> None:
    """Let the Admin UI connect, with any user name and `token` as the password.

    Admins get the statistics of all instances every `interval` seconds, and can disconnect sockets. An address with too
    many wrong passwords must wait, even with the right password; an attempt before then is disconnected.
    """
    credentials, failures = Credentials(token), FailureBackoff(MOST_FAILURES)
    server = instance.server
    namespace = server.add(Namespace(NAMESPACE, recovery=False))
    AdminUiInstance(instance)
    watch = Watch(namespace, instance.instances, interval)

    def check_password(given: object, address: str) -> None:
        if failures.is_delayed(address):
            server.incidents.note(IncidentKind.CONSOLE_SIGN_IN_REFUSED, "too many", address)
            raise ConnectRefused(_TOO_MANY, close=True)
        if not credentials.are_password(given):
            failures.note(address)
            server.incidents.note(IncidentKind.CONSOLE_SIGN_IN_REFUSED, "wrong password of the admin UI", address)
            raise ConnectRefused(_WRONG)

    def welcome(socket: Socket, auth: dict[str, Any]) -> None:
        address = session_of(socket).request.address
        if not credentials.are_session(auth.get("sessionId")):
            check_password(auth.get("password"), address)
            socket.emit("session", credentials.new_session())
        log.info("admin_ui_connected", socketId=socket.id, address=address)
        watch.enter(socket)

    def dismiss(socket: Socket, _: str) -> None:
        watch.leave(socket)

    def disconnect(admin: Socket, name: object = None, close: object = False, room: object = None, *_: object) -> None:
        chosen = server.namespaces.get(name) if isinstance(name, str) else None
        if chosen is None or not isinstance(room, str) or not room:
            raise EventRefused("_disconnect: a namespace, whether to close, and a room or a socket's id are needed")
        log.warning("admin_ui_disconnected", room=room, namespace=name, address=session_of(admin).request.address)
        chosen.to(room).disconnect_sockets(close is True)

    namespace.on_connect(welcome)
    namespace.on_disconnect(dismiss)
    namespace.on("_disconnect", disconnect)
