"""Who may join which project, asked of the app or of its database."""

from synkora.access.database import Database
from synkora.access.http import HttpAccess
from synkora.access.postgres import PostgresAccess
from synkora.access.sessions import PostgresSessions

__all__ = ["Database", "HttpAccess", "PostgresAccess", "PostgresSessions"]
