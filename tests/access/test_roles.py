import pytest

from synkora.access.roles import is_valid_project_id, member_role
from synkora.collaboration.access import Role


@pytest.mark.parametrize("role", Role)
def test_a_known_role_is_itself(role: Role) -> None:
    assert member_role(role.value) is role


@pytest.mark.parametrize("name", ["", "ADMIN", "owner", "OWNER "])
def test_an_unknown_role_may_only_look(name: str) -> None:
    """A role that the app adds later gives no right to edit."""
    assert member_role(name) is Role.VIEWER


def test_an_id_that_no_database_can_store_is_invalid() -> None:
    assert not any(map(is_valid_project_id, ["", "\0", "a\0b", "\ud800", "\udc00\ud800"]))
    assert all(map(is_valid_project_id, ["a", "..", "é", "😀", "\x01", " "]))
