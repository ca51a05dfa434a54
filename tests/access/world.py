"""A small world of projects, teams and users, and the users' tokens."""

import json
from dataclasses import asdict, dataclass, field
from typing import Final

from joserfc import jwe
from tests.identity.forge import encrypted

from synkora.identity import Keyring, SignedIn, sign
from synkora.identity.keys import authjs_v5_key
from synkora.identity.user import user_from_claims

SECRET: Final = "a-secret-of-the-app-that-only-the-tests-know"

TEAM_PROJECT: Final = "proj_team"
OWN_PROJECT: Final = "proj_own"
ODD_PROJECT: Final = "a b/c?d#e%2f..;é☃😀'\"\\&=+:@"
_KEYRING: Final = Keyring(SECRET)
USERS: Final = ("owner", "editor", "viewer", "creator", "stranger", "o'brien; --")


@dataclass
class Project:
    teamId: str | None  # noqa: N815  # its name in the app
    createdById: str  # noqa: N815  # its name in the app


@dataclass
class World:
    projects: dict[str, Project] = field(default_factory=dict)
    teams: dict[str, dict[str, str]] = field(default_factory=dict)

    def json(self) -> str:
        return json.dumps(asdict(self))


def small_world() -> World:
    """Projects with and without a team. One has an id that must be escaped in an address."""
    roles = {"owner": "OWNER", "editor": "EDITOR", "viewer": "VIEWER", "o'brien; --": "EDITOR"}
    projects = {
        TEAM_PROJECT: Project("team", "creator"),
        OWN_PROJECT: Project(None, "creator"),
        ODD_PROJECT: Project("team", "creator"),
        "proj_other_team": Project("other", "stranger"),
    }
    return World(projects, {"team": roles, "other": {"stranger": "OWNER"}})


def nextauth_v4(user_id: str, **claims: object) -> SignedIn:
    return _signed_in(encrypted({"id": user_id, **claims}, SECRET))


def authjs_v5(user_id: str, cookie_name: str, **claims: object) -> SignedIn:
    """A user with a session of Auth.js v5 in this cookie. The cookie's name salts the session's key."""
    registry = jwe.JWERegistry(algorithms=["dir", "A256CBC-HS512"])
    key = authjs_v5_key(SECRET, "A256CBC-HS512", cookie_name)
    payload = json.dumps({"id": user_id, **claims})
    token = jwe.encrypt_compact({"alg": "dir", "enc": "A256CBC-HS512"}, payload, key, registry=registry)
    return _signed_in(token, cookie_name)


def signed(user_id: str) -> SignedIn:
    return _signed_in(sign({"id": user_id}, SECRET, expires_in=3600))


def _signed_in(token: str, cookie_name: str | None = None) -> SignedIn:
    user = user_from_claims(_KEYRING.verify(token, cookie_name=cookie_name))
    assert user is not None
    return SignedIn(user, token, cookie_name)
