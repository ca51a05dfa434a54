"""A real database and a real web app for the tests of the policies."""

from tests.access.fixtures import Database, app, app_process, database, postgres

__all__ = ["Database", "app", "app_process", "database", "postgres"]
