"""Builds the console's parts, and its routes."""

from pathlib import Path
from typing import Self

from starlette.routing import BaseRoute

from synkora.app.console.api import Api
from synkora.app.console.log_tail import LogTail
from synkora.app.console.own_answers import ConsoleInstance
from synkora.app.console.sampling import Sampler, sample_of
from synkora.app.console.settings_in_force import settings_in_force
from synkora.app.console.sign_in import ConsoleSignIn
from synkora.app.instance import Instance
from synkora.app.settings import Settings
from synkora.app.static_pages import CONSOLE, page_routes


class Console:
    """The console of an instance. It samples the instance within a `with` block in a running loop."""

    def __init__(self, settings: Settings, instance: Instance, *, log_tail: LogTail, files: Path = CONSOLE) -> None:
        token = None if settings.console_token is None else settings.console_token.get_secret_value()
        guard = ConsoleSignIn(token, instance.server.settings.proxies, instance.server.incidents)
        self._sampler = Sampler(lambda: sample_of(instance))
        self._answers = ConsoleInstance(instance, self._sampler, log_tail)
        api = Api(instance, guard, settings_in_force(settings))
        self.routes: list[BaseRoute] = [*page_routes("console", files), *api.routes]

    def listens_on(self, port: int) -> None:
        """Set the port: operators recognise this instance by its port."""
        self._answers.port = port

    def __enter__(self) -> Self:
        self._sampler.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._sampler.__exit__()
