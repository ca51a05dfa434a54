"""What both policies hold of projects and members."""

from typing import Final

from synkora.collaboration.access import Role

PATIENCE: Final = 2.5  # seconds: a little less than a join waits, so that the log says what was slow


def may_be_project_id(project_id: str) -> bool:
    """Whether a project can have this id: PostgreSQL keeps no text with a NUL or with half a surrogate pair."""
    try:
        project_id.encode()
    except UnicodeEncodeError:
        return False
    return bool(project_id) and "\0" not in project_id


def member_role(name: str) -> Role:
    """The role of a member, by its name in the app; one that is not known here may only look."""
    try:
        return Role(name)
    except ValueError:
        return Role.VIEWER
