"""Outboxes of clients without a network."""

from tests.support.sessions import MemoryTransport, turn

from synkora.engine.message import Message
from synkora.engine.outbox import Flusher, Outbox

LIMIT = 200_000


class Client:
    def __init__(self, flusher: Flusher, limit: int = LIMIT) -> None:
        self.carrier = MemoryTransport()
        self.failures: list[Exception] = []
        self.outbox = Outbox(flusher, self.carrier, limit, self.failures.append)

    def resume(self) -> None:
        """The transport can be written to again."""
        self.carrier.writable = True
        self.outbox.flush()

    async def get(self, *messages: Message) -> None:
        """Put messages into the outbox, and let the turn end."""
        for message in messages:
            self.outbox.put(message)
        await turn()


def message(text: str, *, volatile: bool = False, size: int = 0) -> Message:
    return Message(text.encode().ljust(size - 1, b"."), volatile=volatile)


def names(client: Client) -> list[str]:
    return [packet[1:].rstrip(b".").decode() for packet in client.carrier.packets]
