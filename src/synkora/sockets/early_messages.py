"""Messages that a client sends while its CONNECT waits for a turn."""

from collections.abc import Callable
from typing import Final

from synkora.engine.close_reasons import Reason
from synkora.engine.ports import SessionListener
from synkora.engine.session import Session
from synkora.protocol.errors import PayloadTooLarge

_EXTRA: Final = 100  # bytes that a message takes besides its data


class EarlyMessages:
    """Takes the place of a session's listener, keeps at most `most` bytes of messages, and passes them on later."""

    def __init__(self, session: Session, most: int) -> None:
        self._session = session
        self._listener: SessionListener = session.listener
        self._room = most
        self._kept: list[tuple[Callable[[SessionListener], Callable[[bytes], None]], bytes]] = []
        session.listener = self

    def on_message(self, data: bytes) -> None:
        """Keep a text message. Raises `PayloadTooLarge`."""
        self._keep(lambda listener: listener.on_message, data)

    def on_binary(self, data: bytes) -> None:
        """Keep an attachment. Raises `PayloadTooLarge`."""
        self._keep(lambda listener: listener.on_binary, data)

    def on_close(self, reason: Reason) -> None:
        """Pass the end of the session on; the messages are dropped."""
        self._kept.clear()
        self._listener.on_close(reason)

    def _keep(self, method: Callable[[SessionListener], Callable[[bytes], None]], data: bytes) -> None:
        self._room -= len(data) + _EXTRA
        if self._room < 0:
            raise PayloadTooLarge("too many messages before the reply to CONNECT")
        self._kept.append((method, data))

    def end(self) -> None:
        """Give the session its listener back."""
        if self._session.listener is self:
            self._session.listener = self._listener

    def pass_on(self) -> None:
        """Pass the messages on; another CONNECT among them may keep the rest once more."""
        for method, data in self._kept:
            if not self._session.is_live:
                return
            try:
                method(self._session.listener)(data)
            except Exception as error:  # noqa: BLE001  # it ends the session, as when a message arrives
                self._session.receive_failed(self._session.transport, error)
                return
