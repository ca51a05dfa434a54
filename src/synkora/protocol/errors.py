"""What can be wrong with bytes."""


class ProtocolError(ValueError):
    """Bytes that break the protocol: the connection that sent them cannot go on."""


class OutOfPlace(ProtocolError):
    """A packet that is well formed, but not allowed where the connection stands."""


class InvalidUtf8(ProtocolError):
    """Text that is not UTF-8."""


class PayloadTooLarge(ProtocolError):
    """More bytes than the server takes in one message."""


class Flooding(ProtocolError):
    """More packets than a connection may send of those that say nothing."""


class MessageTimeout(ProtocolError):
    """A message whose rest did not come in time."""


class InvalidPayload(ValueError):
    """JSON that is well formed but not what is due: the sender gets an answer and the connection goes on.

    `path` says where in the JSON, as dotted names and indices, and is empty for the whole of it.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.problem = problem
        self.path = path
