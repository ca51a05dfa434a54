"""Disconnect reasons, and the reasons and close codes of errors."""

from enum import StrEnum

from synkora.engine.incidents import IncidentKind, Incidents
from synkora.protocol.errors import InvalidUtf8, PayloadTooLarge, ProtocolError, TooManyPackets, UnexpectedPacket
from synkora.protocol.websocket import CloseCode


class Reason(StrEnum):
    """Why a connection ended, by Socket.IO's names (socket.io/docs/v4/server-socket-instance, "disconnect")."""

    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"
    PING_TIMEOUT = "ping timeout"
    PARSE_ERROR = "parse error"
    CLIENT_NAMESPACE_DISCONNECT = "client namespace disconnect"
    SERVER_NAMESPACE_DISCONNECT = "server namespace disconnect"
    FORCED_SERVER_CLOSE = "forced server close"
    SERVER_SHUTTING_DOWN = "server shutting down"


#: Reasons that leave the client time to fetch its last messages.
ORDERLY = frozenset((Reason.SERVER_NAMESPACE_DISCONNECT, Reason.FORCED_SERVER_CLOSE, Reason.SERVER_SHUTTING_DOWN))


class OutboxFull(Exception):
    """A slow consumer: the backlog exceeds its limit."""


def reason_for(error: BaseException) -> Reason | None:
    """Return the reason for the disconnect that `error` causes; None if the error does not end the connection."""
    match error:
        case PayloadTooLarge() | TooManyPackets() | OutboxFull() | OSError():
            return Reason.TRANSPORT_ERROR
        case UnexpectedPacket():
            return Reason.FORCED_SERVER_CLOSE
        case ProtocolError():
            return Reason.PARSE_ERROR
        case _:
            return None


def note_failure(incidents: Incidents, error: Exception, address: str) -> None:
    """Count an error that ends a connection, if a correct client would not cause it."""
    match error:
        case OutboxFull():
            incidents.note(IncidentKind.SLOW_CLIENT_CUT_OFF, address=address)
        case TooManyPackets():
            incidents.note(IncidentKind.FLOODING_CLIENT_CUT_OFF, address=address)
        case ProtocolError():
            incidents.note(IncidentKind.PROTOCOL_ERROR, str(error), address)


def close_code(reason: Reason, error: Exception | None) -> CloseCode:
    """Return the close code of a WebSocket (RFC 6455 section 7.4.1)."""
    match error, reason:
        case InvalidUtf8(), _:
            return CloseCode.INVALID_TEXT
        case PayloadTooLarge(), _:
            return CloseCode.TOO_BIG
        case TooManyPackets(), _:
            return CloseCode.POLICY_VIOLATION
        case ProtocolError(), _:
            return CloseCode.PROTOCOL_ERROR
        case _, Reason.SERVER_SHUTTING_DOWN:
            return CloseCode.SERVICE_RESTART
        case _:
            return CloseCode.NORMAL
