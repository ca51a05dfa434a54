import pytest

from synkora.engine.close_reasons import OutboxFull, Reason, close_code, reason_for
from synkora.protocol.errors import InvalidPayload, InvalidUtf8, PayloadTooLarge, ProtocolError, UnexpectedPacket
from synkora.protocol.websocket import CloseCode


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ProtocolError("x"), Reason.PARSE_ERROR),
        (InvalidUtf8("x"), Reason.PARSE_ERROR),
        (UnexpectedPacket("x"), Reason.FORCED_SERVER_CLOSE),
        (PayloadTooLarge("x"), Reason.TRANSPORT_ERROR),
        (OutboxFull("x"), Reason.TRANSPORT_ERROR),
        (ConnectionResetError(), Reason.TRANSPORT_ERROR),
        (InvalidPayload("x"), None),
        (RuntimeError("x"), None),
        (KeyError("x"), None),
    ],
)
def test_each_error_has_its_reason_or_none(error: Exception, reason: Reason | None) -> None:
    """Errors of the protocol or the connection end it. Others do not."""
    assert reason_for(error) is reason


@pytest.mark.parametrize(
    ("reason", "error", "code"),
    [
        (Reason.PARSE_ERROR, InvalidUtf8("x"), CloseCode.INVALID_TEXT),
        (Reason.TRANSPORT_ERROR, PayloadTooLarge("x"), CloseCode.TOO_BIG),
        (Reason.PARSE_ERROR, ProtocolError("x"), CloseCode.PROTOCOL_ERROR),
        (Reason.FORCED_SERVER_CLOSE, UnexpectedPacket("x"), CloseCode.PROTOCOL_ERROR),
        (Reason.SERVER_SHUTTING_DOWN, None, CloseCode.SERVICE_RESTART),
        (Reason.PING_TIMEOUT, None, CloseCode.NORMAL),
        (Reason.SERVER_NAMESPACE_DISCONNECT, None, CloseCode.NORMAL),
    ],
)
def test_each_end_has_its_close_code(reason: Reason, error: Exception | None, code: CloseCode) -> None:
    """By the error if there is one, otherwise by the reason."""
    assert close_code(reason, error) is code


def test_the_reasons_have_socketios_names() -> None:
    """Applications compare them with the strings in Socket.IO's documentation."""
    assert sorted(Reason) == [
        "client namespace disconnect",
        "forced server close",
        "parse error",
        "ping timeout",
        "server namespace disconnect",
        "server shutting down",
        "transport close",
        "transport error",
    ]
