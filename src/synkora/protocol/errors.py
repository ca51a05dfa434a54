"""Errors in received bytes."""


class ProtocolError(ValueError):
    """The bytes violate the protocol: the server closes the connection."""


class UnexpectedPacket(ProtocolError):
    """A packet is well formed, but not allowed in the current state of the connection."""


class InvalidUtf8(ProtocolError):
    """Text is not valid UTF-8."""


class PayloadTooLarge(ProtocolError):
    """A message is larger than the server accepts."""


class TooManyPackets(ProtocolError):
    """A connection sent too many packets that carry no message."""


class MessageTimeout(ProtocolError):
    """The rest of a message did not arrive in time."""


class InvalidPayload(ValueError):
    """JSON is well formed but has the wrong shape: the sender gets an answer, and the connection stays open.

    `path` is the position in the JSON, as dotted names and indices; an empty `path` is the whole value.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.problem = problem
        self.path = path
