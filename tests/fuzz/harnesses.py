"""What is fuzzed: a function of bytes for each decoder, which raises only where the decoder has a fault."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.fuzz import http, identity, protocol, session

MAX_INPUT: Final = 4096  # bytes


@dataclass(frozen=True, slots=True)
class Harness:
    """Something to fuzz; `share` is its part of all runs, the smaller the longer one of its runs takes."""

    name: str
    run: Callable[[bytes], None]
    share: int


HARNESSES: Final[Sequence[Harness]] = (
    Harness("polling_payload", protocol.polling_payload, 10),
    Harness("socketio_packet", protocol.socketio_packet, 14),
    Harness("socketio_assembler", protocol.socketio_assembler, 10),
    Harness("event_payload", protocol.event_payload, 14),
    Harness("websocket_deflate", protocol.websocket_deflate, 10),
    Harness("websocket_extensions", protocol.websocket_extensions, 6),
    Harness("cookies", identity.cookies, 8),
    Harness("tokens", identity.tokens, 4),
    Harness("request", http.request, 8),
    Harness("origins", http.origins, 6),
    Harness("addresses", http.addresses, 6),
    Harness("session", session.session, 4),
)
