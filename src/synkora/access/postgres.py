"""The access policy that asks the app's database."""

from typing import Final

from synkora.access.database import Database
from synkora.access.roles import is_valid_project_id, member_role
from synkora.collaboration.access import AccessUnavailable, Role
from synkora.identity.sign_in import SignedIn

_QUERY: Final = """
    SELECT CASE WHEN project."teamId" IS NOT NULL THEN member.role::text
                WHEN project."createdById" = $2::text THEN 'OWNER' END
    FROM {schema}."Project" AS project
    LEFT JOIN {schema}."TeamMember" AS member
           ON member."teamId" = project."teamId" AND member."userId" = $2::text
    WHERE project.id = $1::text
"""


class PostgresAccess:
    """Queries the app's tables `"Project"` and `"TeamMember"`, as Prisma names them.

    `database` is the app's database, or its `DATABASE_URL`. Raises `ValueError` for an invalid URL.
    """

    def __init__(self, database: Database | str) -> None:
        self.database = Database(database) if isinstance(database, str) else database
        self._query = _QUERY.format(schema=self.database.schema)

    async def role(self, signed_in: SignedIn, project_id: str) -> Role | None:
        """Return the user's role in a project, or None without access. Raises `AccessUnavailable`."""
        if self.database.is_closed:
            raise AccessUnavailable("the server is stopping")
        if not is_valid_project_id(project_id):
            return None
        record = await self.database.ask(self._query, project_id, signed_in.user.id)
        return None if record is None or record[0] is None else member_role(record[0])

    async def close(self) -> None:
        """Close the connections. Later calls raise `AccessUnavailable`."""
        await self.database.close()
