"""Settings of the engine."""

from dataclasses import dataclass, field
from typing import Literal

from synkora.engine.addresses import TrustedProxies
from synkora.engine.origins import Origins

TransportName = Literal["polling", "websocket"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """What responses to pages of other origins say (Fetch standard, "CORS protocol").

    With `credentials`, browsers send cookies along. `allow_headers` are the headers that requests may have, those that
    the page asks for if it is None. `expose_headers` are those of responses that pages may read. Browsers ask again
    after `max_age` seconds.
    """

    credentials: bool = True
    allow_headers: tuple[str, ...] | None = None
    expose_headers: tuple[str, ...] = ()
    max_age: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Durations are seconds, sizes are bytes.

    The server pings a client every `ping_interval`; the client has `ping_timeout` to answer. An upgrade to WebSocket
    may take `upgrade_timeout`. `max_payload` is the largest accepted message (or POST), including its attachments.
    `proxies` are the trusted proxies. `max_outbox` is the largest backlog of a slow consumer. `compression` offers
    permessage-deflate for messages, and gzip for polls, from `compression_threshold` up. `instance`,
    if set, and a dot are the prefix of session ids. The event loop sleeps so that `write_interval` lies between the
    writes of two turns.
    """

    path: str = "/socket.io/"
    instance: str = ""
    transports: tuple[TransportName, ...] = ("polling", "websocket")
    origins: Origins = field(default_factory=Origins)
    cors: Cors = Cors()
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    ping_interval: float = 25
    ping_timeout: float = 60
    upgrade_timeout: float = 10
    max_payload: int = 1_000_000
    max_outbox: int = 4_000_000
    compression: bool = False
    compression_threshold: int = 1024
    write_interval: float = 0

    def serves(self, path: str) -> bool:
        """Whether the decoded `path` is the engine's: below the engine's path, or the path without its last slash.

        Clients omit the slash with the option `addTrailingSlash: false`, for example behind rewrites of Next.js.
        """
        return path.startswith(self.path) or path == self.path[:-1]

    def upgrades(self, transport: TransportName) -> list[str]:
        """Return the transports that a session on `transport` may upgrade to."""
        return ["websocket"] if transport == "polling" and "websocket" in self.transports else []
