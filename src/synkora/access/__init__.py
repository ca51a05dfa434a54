"""Who may join which project, asked of the app or of its database."""

from synkora.access.http import HttpAccess
from synkora.access.postgres import PostgresAccess

__all__ = ["HttpAccess", "PostgresAccess"]
