"""A real database and a real web app for the tests of the policies."""

from tests.access.fixtures import Database, app, app_process, database, postgres
from tests.support.loops import pytest_asyncio_loop_factories

__all__ = ["Database", "app", "app_process", "database", "postgres", "pytest_asyncio_loop_factories"]
