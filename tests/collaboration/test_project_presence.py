"""The members of one project."""

import json

from synkora.collaboration.presence import PresenceEntry
from synkora.collaboration.project_presence import ProjectPresence
from synkora.protocol.json import encode


def test_a_user_is_listed_since_the_earliest_of_their_connections() -> None:
    """In any order of reports: another server's connection may be older."""
    presence = ProjectPresence()
    presence.add(PresenceEntry("s2", "u", "Ann", "2026-01-02T03:04:06.000Z"))
    presence.add(PresenceEntry("s1", "u", "Ann", "2026-01-02T03:04:05.000Z"))
    (user,) = json.loads(encode(presence.roster))["users"]
    assert user["joinedAt"] == "2026-01-02T03:04:05.000Z"


def test_adding_an_existing_entry_changes_nothing() -> None:
    presence = ProjectPresence()
    first = PresenceEntry("s1", "u", "Ann", "2026-01-02T03:04:05.000Z")
    assert presence.add(first)
    assert not presence.add(PresenceEntry("s1", "v", "Bob", "2026-01-02T03:04:06.000Z"))
    assert list(presence.entries) == [first]
    assert presence.get("s1") is first


def test_a_removed_entry_is_returned() -> None:
    presence = ProjectPresence()
    entry = PresenceEntry("s1", "u", "Ann", "2026-01-02T03:04:05.000Z")
    presence.add(entry)
    assert presence.remove("s1") is entry
    assert presence.remove("s1") is None
    assert (len(presence), presence.count) == (0, 0)
