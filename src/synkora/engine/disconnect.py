"""The reasons a connection ends, and which error means which."""

from enum import StrEnum

from synkora.engine.incidents import IncidentKind, Incidents
from synkora.protocol.errors import Flooding, InvalidUtf8, OutOfPlace, PayloadTooLarge, ProtocolError
from synkora.protocol.websocket import CloseCode


class Reason(StrEnum):
    """Why a connection ended, in Socket.IO's words (socket.io/docs/v4/server-socket-instance, "disconnect")."""

    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"
    PING_TIMEOUT = "ping timeout"
    PARSE_ERROR = "parse error"
    CLIENT_NAMESPACE_DISCONNECT = "client namespace disconnect"
    SERVER_NAMESPACE_DISCONNECT = "server namespace disconnect"
    FORCED_SERVER_CLOSE = "forced server close"
    SERVER_SHUTTING_DOWN = "server shutting down"


#: Ends that leave the client time to fetch what it was sent last.
ORDERLY = frozenset((Reason.SERVER_NAMESPACE_DISCONNECT, Reason.FORCED_SERVER_CLOSE, Reason.SERVER_SHUTTING_DOWN))


class OutboxFull(Exception):
    """A client does not read, and more is waiting for it than it may have."""


def reason_for(error: BaseException) -> Reason | None:
    """The reason for which `error` ends the connection it comes from; None means carry on."""
    match error:
        case PayloadTooLarge() | Flooding() | OutboxFull() | OSError():
            return Reason.TRANSPORT_ERROR
        case OutOfPlace():
            return Reason.FORCED_SERVER_CLOSE
        case ProtocolError():
            return Reason.PARSE_ERROR
        case _:
            return None


def note_failure(incidents: Incidents, error: Exception, address: str) -> None:
    """Count an error that ends a connection from an address, if it is one that clients ought not to cause."""
    match error:
        case OutboxFull():
            incidents.note(IncidentKind.SLOW_CLIENT_CUT_OFF, address=address)
        case Flooding():
            incidents.note(IncidentKind.FLOODING_CLIENT_CUT_OFF, address=address)
        case ProtocolError():
            incidents.note(IncidentKind.PROTOCOL_ERROR, str(error), address)


def close_code(reason: Reason, error: Exception | None) -> CloseCode:
    """The code that a WebSocket is closed with (RFC 6455 section 7.4.1)."""
    match error, reason:
        case InvalidUtf8(), _:
            return CloseCode.INVALID_TEXT
        case PayloadTooLarge(), _:
            return CloseCode.TOO_BIG
        case Flooding(), _:
            return CloseCode.POLICY_VIOLATION
        case ProtocolError(), _:
            return CloseCode.PROTOCOL_ERROR
        case _, Reason.SERVER_SHUTTING_DOWN:
            return CloseCode.SERVICE_RESTART
        case _:
            return CloseCode.NORMAL
