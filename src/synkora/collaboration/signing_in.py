"""Who a new socket is."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from synkora.identity.handshake import Authenticator, SignInRefused, may_come_with_upgrade
from synkora.identity.user import User
from synkora.sockets.errors import ConnectRefused
from synkora.sockets.socket import Socket, Stage

#: Seconds that a CONNECT by polling waits for the WebSocket handshake, which brings the cookie.
WAIT_FOR_UPGRADE: Final = 2

log = structlog.get_logger(__name__)


class SigningIn:
    """Decides on each CONNECT, and hands those who are let in to `admit`."""

    def __init__(self, authenticator: Authenticator, admit: Callable[[Socket, User], None]) -> None:
        self._authenticator = authenticator
        self._admit = admit

    def welcome(self, socket: Socket, auth: dict[str, Any]) -> Awaitable[None] | None:
        """Admit a socket at once, or return what waits for its upgrade first. Raises `ConnectRefused`."""
        if socket.transport == "polling" and may_come_with_upgrade(auth, *_offered(socket)):
            return self._welcome_after_upgrade(socket, auth)
        self._judge(socket, auth)
        return None

    async def _welcome_after_upgrade(self, socket: Socket, auth: dict[str, Any]) -> None:
        await socket.session.upgrade_request(WAIT_FOR_UPGRADE)
        if socket.stage is Stage.CONNECTING:  # else it has left meanwhile, and nobody would dismiss it again
            self._judge(socket, auth)

    def _judge(self, socket: Socket, auth: dict[str, Any]) -> None:
        try:
            user = self._authenticator.authenticate(auth, *_offered(socket))
        except SignInRefused as refusal:
            log.info("sign_in_refused", message=refusal.message, detail=refusal.detail, socketId=socket.id)
            raise ConnectRefused(refusal.message) from None
        self._admit(socket, user)


def _offered(socket: Socket) -> tuple[str | None, str | None]:
    """The `Authorization` and the `Cookie` that came with a session; cookies only from a page that may connect."""
    session = socket.session
    cookie = session.credentials.headers.get("cookie") if session.credentials is not None else None
    return session.request.headers.get("authorization"), cookie
