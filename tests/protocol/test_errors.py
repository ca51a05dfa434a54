import pytest

from synkora.protocol.errors import InvalidPayload, InvalidUtf8, PayloadTooLarge, ProtocolError, UnexpectedPacket


@pytest.mark.parametrize("kind", [UnexpectedPacket, InvalidUtf8, PayloadTooLarge])
def test_errors_that_end_a_connection_are_protocol_errors(kind: type[Exception]) -> None:
    assert issubclass(kind, ProtocolError)


def test_an_invalid_payload_is_no_protocol_error() -> None:
    """It gets an answer and does not end the connection."""
    assert not issubclass(InvalidPayload, ProtocolError)


def test_an_invalid_payload_says_where_it_is_wrong() -> None:
    """The path comes before the problem. Without a path, there is only the problem."""
    assert str(InvalidPayload("Expected string", "task.id")) == "task.id: Expected string"
    assert str(InvalidPayload("Expected string")) == "Expected string"
