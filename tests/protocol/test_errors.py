import pytest

from synkora.protocol.errors import InvalidPayload, InvalidUtf8, PayloadTooLarge, ProtocolError, UnexpectedPacket


@pytest.mark.parametrize("kind", [UnexpectedPacket, InvalidUtf8, PayloadTooLarge])
def test_errors_that_end_a_connection_are_protocol_errors(kind: type[Exception]) -> None:
    """Every error that a connection cannot survive is caught as a ProtocolError."""
    assert issubclass(kind, ProtocolError)


def test_an_invalid_payload_is_no_protocol_error() -> None:
    """What gets an answer and costs no connection is not caught as a ProtocolError."""
    assert not issubclass(InvalidPayload, ProtocolError)


def test_an_invalid_payload_says_where_it_is_wrong() -> None:
    """The path comes before the problem; without a path, only the problem."""
    assert str(InvalidPayload("Expected string", "task.id")) == "task.id: Expected string"
    assert str(InvalidPayload("Expected string")) == "Expected string"
