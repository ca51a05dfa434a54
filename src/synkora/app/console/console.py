"""The console, wired."""

from pathlib import Path
from types import TracebackType
from typing import Final, Self

from starlette.routing import BaseRoute

from synkora.app.cluster import Cluster
from synkora.app.console.api import Api
from synkora.app.console.block_sharing import BlockSharing
from synkora.app.console.guard import Guard
from synkora.app.console.instance import ConsoleInstance
from synkora.app.console.instances import Instances
from synkora.app.console.log_tail import LogTail
from synkora.app.console.reading import Reading
from synkora.app.console.sampling import Sampler
from synkora.app.console.settings_in_force import settings_in_force
from synkora.app.metrics.loop_lag import LoopLag
from synkora.app.pages import BUILT, page_routes
from synkora.app.settings import Settings
from synkora.app.status import Status, status_of
from synkora.collaboration.service import Collaboration
from synkora.redis.link import new_uid
from synkora.sockets.internals import registry_of
from synkora.sockets.server import SocketServer

#: Where `make web` builds the page.
FILES: Final = BUILT / "console"


def has_console(settings: Settings) -> bool:
    """Whether there is one: where it has a token, and in development."""
    return settings.console_token is not None or settings.environment == "development"


class Console:
    """What the console needs of a server, which is measured within a `with` block in a running loop."""

    def __init__(
        self,
        settings: Settings,
        server: SocketServer,
        collaboration: Collaboration,
        *,
        lag: LoopLag,
        log_tail: LogTail,
        cluster: Cluster | None = None,
        instance_id: str = "",
        files: Path = FILES,
    ) -> None:
        token = None if settings.console_token is None else settings.console_token.get_secret_value()
        guard = Guard(token, server.settings.proxies, server.incidents)
        fleet = Instances(instance_id or new_uid(), None if cluster is None else cluster.questions)

        def status() -> Status:
            problem = None if cluster is None else cluster.problem
            return status_of(is_closing=registry_of(server).is_closing, problem=problem)

        self._sharing = BlockSharing(fleet, collaboration.blocks)
        self._sampler = Sampler(Reading(server, collaboration, lag, cluster).take)
        self._instance = ConsoleInstance(fleet, collaboration, self._sampler, log_tail, status)
        api = Api(fleet, guard, collaboration, settings_in_force(settings))
        self.routes: list[BaseRoute] = [*page_routes("console", files), *api.routes]

    def listens_on(self, port: int) -> None:
        """Take note of the port, by which operators know this instance."""
        self._instance.port = port

    def __enter__(self) -> Self:
        """Begin to measure."""
        self._sampler.__enter__()
        self._sharing.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._sharing.__exit__(kind, error, trace)
        self._sampler.__exit__(kind, error, trace)
