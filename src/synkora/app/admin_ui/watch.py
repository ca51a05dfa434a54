"""Sends the state of all instances to the connected admins."""

import asyncio
import time
from typing import Final

import structlog

from synkora.app.admin_ui.changes import Sockets, changes, server_stats
from synkora.app.admin_ui.messages import FEATURES, SOCKETS, STATISTICS, TABLES, Config, Statistics
from synkora.app.all_instances import AllInstances, Nothing
from synkora.engine.logs import fault
from synkora.sockets.namespace import Namespace
from synkora.sockets.socket import Socket

INTERVAL: Final = 2  # seconds, as in Node.js; after ten seconds of silence the UI considers a server dead
MOST_SOCKETS: Final = 500  # of all instances; the UI searches its whole list for each socket that it gets
_MOST_CHANGES: Final = 1000  # sent one by one

log = structlog.get_logger(__name__)


class Watch:
    """Reads all instances every `interval` seconds, and sends the changes to the admins connected to this instance.

    The instances keep no state for this. The watch keeps the last reading, until the last admin disconnects.
    """

    def __init__(self, namespace: Namespace, instances: AllInstances, interval: float = INTERVAL) -> None:
        self._namespace = namespace
        self._instances = instances
        self._interval = interval
        self._admins: set[str] = set()
        self._looking: asyncio.Task[None] | None = None
        self._forget()

    def _forget(self) -> None:
        self._config: Config | None = None
        self._statistics: dict[str, Statistics] = {}
        self._sockets: Sockets | None = None  # None before the first reading, and while there are too many

    def enter(self, admin: Socket) -> None:
        """Send an admin the current state, then each change."""
        self._admins.add(admin.id)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_again_and_again())
        elif self._config is not None:
            admin.emit("config", self._config)
            admin.emit("all_sockets", list((self._sockets or {}).values()))

    def leave(self, admin: Socket) -> None:
        """Remove an admin. With the last admin, the known state is dropped."""
        self._admins.discard(admin.id)
        if not self._admins and self._looking is not None:
            self._looking.cancel()
            self._looking = None
            self._forget()

    async def _look_again_and_again(self) -> None:
        while True:
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001  # it is logged
                log.error("admin_ui_look_failed", **fault(error))
                self._sockets = None  # which of them the admins know is unknown: the next reading sends all
            await asyncio.sleep(self._interval)

    async def _look(self) -> None:
        answers = await self._instances.ask(STATISTICS, Nothing())
        statistics = list(answers.by_instance.values())
        if sum(size.sockets_count for each in statistics for size in each.namespaces) <= MOST_SOCKETS:
            found = await self._instances.ask(SOCKETS, Nothing())
            self._show({(socket.nsp, socket.id): socket for each in found.by_instance.values() for socket in each})
        else:
            self._show(None)
        self._tell(statistics)

    def _show(self, sockets: Sockets | None) -> None:
        """Send the current sockets, or the fact that there are too many to show."""
        admins = self._namespace.local
        config = Config([*FEATURES] if sockets is None else [*FEATURES, TABLES])
        before, self._sockets = self._sockets, sockets
        if config != self._config:
            self._config = config
            admins.emit("config", config)
        elif sockets is None:
            return
        events = None if sockets is None or before is None else list(changes(before, sockets))
        if events is None or len(events) > _MOST_CHANGES:
            admins.emit("all_sockets", list((sockets or {}).values()))
        else:
            for name, *args in events:
                admins.emit(name, *args)

    def _tell(self, statistics: list[Statistics]) -> None:
        now = time.time()
        for each in statistics:
            self._namespace.local.emit("server_stats", server_stats(each, self._statistics.get(each.server_id), now))
        self._statistics = {each.server_id: each for each in statistics}
