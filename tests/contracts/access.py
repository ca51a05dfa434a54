"""The contract of every policy of project access."""

import asyncio
from typing import Protocol

import pytest
from tests.access.world import ODD_PROJECT, OWN_PROJECT, TEAM_PROJECT, World, nextauth_v4, small_world

from synkora.collaboration.access import Access, AccessPolicy, AccessUnavailable, Role
from synkora.identity import SignedIn


class Backend(Protocol):
    policy: AccessPolicy

    async def show(self, world: World) -> None: ...

    async def stop(self) -> None:
        """Make the policy's backend unavailable."""
        ...

    async def start(self) -> None: ...


class Counted:
    def __init__(self, policy: AccessPolicy) -> None:
        self.asked = 0
        self._policy = policy

    async def role(self, signed_in: SignedIn, project_id: str) -> Role | None:
        self.asked += 1
        return await self._policy.role(signed_in, project_id)

    async def close(self) -> None:
        await self._policy.close()


class AccessContract:
    """The tests. A subclass has a fixture `backend`, which is reset to the small world before each of them."""

    @pytest.mark.parametrize(
        ("user_id", "project_id", "role"),
        [
            ("owner", TEAM_PROJECT, Role.OWNER),
            ("editor", TEAM_PROJECT, Role.EDITOR),
            ("viewer", TEAM_PROJECT, Role.VIEWER),
            ("o'brien; --", TEAM_PROJECT, Role.EDITOR),
            ("creator", TEAM_PROJECT, None),
            ("stranger", TEAM_PROJECT, None),
            ("creator", OWN_PROJECT, Role.OWNER),
            ("owner", OWN_PROJECT, None),
            ("stranger", OWN_PROJECT, None),
            ("owner", ODD_PROJECT, Role.OWNER),
            ("viewer", ODD_PROJECT, Role.VIEWER),
            ("stranger", ODD_PROJECT, None),
            ("owner", "proj_unknown", None),
            ("nobody", TEAM_PROJECT, None),
        ],
    )
    async def test_members_have_their_roles(
        self, backend: Backend, user_id: str, project_id: str, role: Role | None
    ) -> None:
        """A team's project is open to its members, another one only to its creator, and to nobody else."""
        assert await backend.policy.role(nextauth_v4(user_id), project_id) is role

    @pytest.mark.parametrize(
        "project_id",
        [
            "",
            ".",
            "..",
            "/",
            "%2e%2e",
            "../" + TEAM_PROJECT,
            "x/../" + TEAM_PROJECT,
            "x%2f..%2f" + TEAM_PROJECT,
            TEAM_PROJECT + "/",
            TEAM_PROJECT + "?x",
            TEAM_PROJECT + "#x",
            TEAM_PROJECT + "\0",
            TEAM_PROJECT + "\n",
            TEAM_PROJECT.upper(),
            " " + TEAM_PROJECT,
            "\0",
            "\ud800",
            "\uffff\x7f\r\nx: y",
            "constructor",
            "x' OR '1'='1",
            "ü" * 200,
        ],
    )
    async def test_an_odd_id_is_no_other_projects(self, backend: Backend, project_id: str) -> None:
        """An id may look like an address, an escape or a query."""
        assert await backend.policy.role(nextauth_v4("owner"), project_id) is None

    async def test_changes_are_seen(self, backend: Backend) -> None:
        """A new role, a removed membership, and a deleted project count in the next answer."""
        world, editor = small_world(), nextauth_v4("editor")
        assert await backend.policy.role(editor, TEAM_PROJECT) is Role.EDITOR
        world.teams["team"]["editor"] = "VIEWER"
        await backend.show(world)
        assert await backend.policy.role(editor, TEAM_PROJECT) is Role.VIEWER
        del world.teams["team"]["editor"]
        await backend.show(world)
        assert await backend.policy.role(editor, TEAM_PROJECT) is None
        world.projects[TEAM_PROJECT].teamId = None
        await backend.show(world)
        assert await backend.policy.role(nextauth_v4("owner"), TEAM_PROJECT) is None
        assert await backend.policy.role(nextauth_v4("creator"), TEAM_PROJECT) is Role.OWNER
        del world.projects[TEAM_PROJECT]
        await backend.show(world)
        assert await backend.policy.role(nextauth_v4("creator"), TEAM_PROJECT) is None

    async def test_many_questions_at_once_are_one(self, backend: Backend) -> None:
        """A hundred connections of a user that join a project together cause one question, and all get its answer."""
        counted = Counted(backend.policy)
        access, editor = Access(counted), nextauth_v4("editor")
        roles = await asyncio.gather(*(access.role(editor, TEAM_PROJECT) for _ in range(100)))
        assert roles == [Role.EDITOR] * 100
        assert counted.asked == 1

    async def test_many_different_questions_are_all_answered(self, backend: Backend) -> None:
        """Simultaneous users get their own answers, however few connections there are."""
        users = [("owner", Role.OWNER), ("viewer", Role.VIEWER), ("stranger", None)] * 40
        roles = await asyncio.gather(*(backend.policy.role(nextauth_v4(name), TEAM_PROJECT) for name, _ in users))
        assert roles == [role for _, role in users]

    async def test_recovery_needs_no_restart(self, backend: Backend) -> None:
        """During an outage the policy is unavailable, and afterwards it answers again."""
        editor = nextauth_v4("editor")
        assert await backend.policy.role(editor, TEAM_PROJECT) is Role.EDITOR
        await backend.stop()
        for _ in range(2):
            with pytest.raises(AccessUnavailable):
                await backend.policy.role(editor, TEAM_PROJECT)
        failures = await asyncio.gather(
            *(backend.policy.role(editor, TEAM_PROJECT) for _ in range(50)), return_exceptions=True
        )
        assert all(isinstance(failure, AccessUnavailable) for failure in failures)
        await backend.start()
        assert await backend.policy.role(editor, TEAM_PROJECT) is Role.EDITOR

    async def test_a_closed_policy_is_unavailable(self, backend: Backend) -> None:
        """A question during the shutdown is refused, and opens no connection."""
        await backend.policy.close()
        with pytest.raises(AccessUnavailable, match="stopping"):
            await backend.policy.role(nextauth_v4("owner"), TEAM_PROJECT)
        await backend.policy.close()
