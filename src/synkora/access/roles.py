"""What all access policies share: roles of members, valid project ids, and the time for a query."""

from typing import Final

from synkora.collaboration.access import Role

QUERY_TIMEOUT: Final = 2.5  # seconds; less than the timeout of a join, so that the log names the slow part


def is_valid_project_id(project_id: str) -> bool:
    """Whether a project can have this id: PostgreSQL stores no text with a NUL or a lone surrogate."""
    try:
        project_id.encode()
    except UnicodeEncodeError:
        return False
    return bool(project_id) and "\0" not in project_id


def member_role(name: str) -> Role:
    """Return a member's role by its name in the app. Unknown roles may only view."""
    try:
        return Role(name)
    except ValueError:
        return Role.VIEWER
