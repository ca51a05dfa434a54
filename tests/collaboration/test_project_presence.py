"""The members of one project."""

import json

from synkora.collaboration.presence import PresenceEntry
from synkora.collaboration.project_presence import ProjectPresence
from synkora.protocol.json import encode


def test_a_user_is_listed_since_the_earliest_of_their_connections() -> None:
    """In any order of reports: another server's connection may be older."""
    attendance = ProjectPresence()
    attendance.add(PresenceEntry("s2", "u", "Ann", "2026-01-02T03:04:06.000Z"))
    attendance.add(PresenceEntry("s1", "u", "Ann", "2026-01-02T03:04:05.000Z"))
    (user,) = json.loads(encode(attendance.roster))["users"]
    assert user["joinedAt"] == "2026-01-02T03:04:05.000Z"


def test_adding_an_existing_entry_changes_nothing() -> None:
    attendance = ProjectPresence()
    first = PresenceEntry("s1", "u", "Ann", "2026-01-02T03:04:05.000Z")
    assert attendance.add(first)
    assert not attendance.add(PresenceEntry("s1", "v", "Bob", "2026-01-02T03:04:06.000Z"))
    assert list(attendance.entries) == [first]
    assert attendance.get("s1") is first


def test_a_removed_entry_is_returned() -> None:
    attendance = ProjectPresence()
    entry = PresenceEntry("s1", "u", "Ann", "2026-01-02T03:04:05.000Z")
    attendance.add(entry)
    assert attendance.remove("s1") is entry
    assert attendance.remove("s1") is None
    assert (len(attendance), attendance.count) == (0, 0)
