"""This instance's answers to queries of any instance's console."""

import asyncio
import os
import socket

from synkora import __version__
from synkora.app.console import tables
from synkora.app.console.concurrency_limit import MOST_RUNNING
from synkora.app.console.log_tail import LogTail
from synkora.app.console.rpc_messages import (
    CONNECTIONS,
    LOG,
    NEWS,
    PROJECT,
    PROJECTS,
    Condition,
    ConnectionRow,
    ConnectionsSought,
    LogPage,
    LogSought,
    News,
    ProjectPart,
    ProjectRow,
    ProjectsSought,
    Rows,
)
from synkora.app.console.sampling import Sampler
from synkora.app.instance import Instance
from synkora.app.moderation import ProjectNamed


class ConsoleInstance:
    """Answers for this instance. `port` is None until the instance listens."""

    def __init__(self, instance: Instance, sampler: Sampler, log_tail: LogTail) -> None:
        self.port: int | None = None
        self._instance = instance
        self._id = instance.id
        self._collaboration = instance.collaboration
        self._sampler = sampler
        self._log_tail = log_tail
        self._tables = asyncio.Semaphore(MOST_RUNNING)  # for requests of all instances together
        fleet = instance.instances
        fleet.answer(NEWS, self._news)
        fleet.answer(CONNECTIONS, self._connections)
        fleet.answer(PROJECTS, self._projects)
        fleet.answer(LOG, self._log)
        fleet.answer(PROJECT, self._project)

    @property
    def name(self) -> str:
        """The instance's name for operators."""
        return f"{socket.gethostname()}:{self.port or '?'} {os.getpid()}"

    async def _news(self, news: News) -> Condition:
        status, reason = self._instance.status
        samples = self._sampler.after(news.after.get(self._id, 0.0))
        return Condition(self.name, __version__, self._instance.started_at, status, reason, samples)

    async def _connections(self, sought: ConnectionsSought) -> Rows[ConnectionRow]:
        async with self._tables:
            return await tables.connections(self._collaboration, self._id, sought)

    async def _projects(self, sought: ProjectsSought) -> Rows[ProjectRow]:
        async with self._tables:
            return await tables.projects(self._collaboration.presence, sought)

    async def _log(self, sought: LogSought) -> LogPage:
        return self._log_tail.after(sought.after.get(self._id, 0), sought.level, self._id)

    async def _project(self, named: ProjectNamed) -> ProjectPart:
        return tables.project(self._collaboration, named.project_id)
