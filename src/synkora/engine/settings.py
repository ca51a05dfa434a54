"""What an engine can be told."""

from dataclasses import dataclass, field
from typing import Literal

from synkora.engine.addresses import TrustedProxies
from synkora.engine.origins import Origins

TransportName = Literal["polling", "websocket"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Durations are seconds, sizes are bytes.

    A client is pinged every `ping_interval` and has `ping_timeout` to answer. A session's upgrade to WebSocket may take
    `upgrade_timeout`. `max_payload` is the largest message (or POST) that is taken, its attachments included.
    `proxies` are those whose word on a client's address counts. A client that does not read may
    have up to `max_outbox` waiting for it. `compression` offers permessage-deflate for messages, and
    gzip for answers to polls, from `compression_threshold` up. `instance`, where it has one, is the name that
    the ids of its sessions begin with, and a dot.
    """

    path: str = "/socket.io/"
    instance: str = ""
    transports: tuple[TransportName, ...] = ("polling", "websocket")
    origins: Origins = field(default_factory=Origins)
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    ping_interval: float = 25
    ping_timeout: float = 60
    upgrade_timeout: float = 10
    max_payload: int = 1_000_000
    max_outbox: int = 4_000_000
    compression: bool = False
    compression_threshold: int = 1024

    def serves(self, path: str) -> bool:
        """Whether `path`, decoded, is the engine's: below the engine's path, or this path without its last slash.

        Clients leave out that slash with the option `addTrailingSlash: false`, as behind rewrites of Next.js.
        """
        return path.startswith(self.path) or path == self.path[:-1]

    def upgrades(self, transport: TransportName) -> list[str]:
        """The transports that a session on `transport` may move to."""
        return ["websocket"] if transport == "polling" and "websocket" in self.transports else []
