"""The harnesses: a function of bytes for each decoder, which raises only if the decoder has an error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.fuzz import http, identity, protocol, session

MAX_INPUT: Final = 4096  # bytes


@dataclass(frozen=True, slots=True)
class Harness:
    """A fuzz target. `share` is its part of all runs: smaller for slower ones."""

    name: str
    run: Callable[[bytes], None]
    share: int


_BY_SHARE: Final = {
    14: (protocol.socketio_packet, protocol.event_payload),
    10: (protocol.polling_payload, protocol.socketio_assembler, protocol.websocket_deflate),
    8: (identity.cookies, http.request),
    6: (protocol.websocket_extensions, http.origins, http.addresses),
    4: (identity.tokens, session.session),
}
HARNESSES: Final[Sequence[Harness]] = [
    Harness(run.__name__, run, share) for share, runs in _BY_SHARE.items() for run in runs
]
