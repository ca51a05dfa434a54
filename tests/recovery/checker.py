"""The checker of a run: whether clients received what they should, as a pure function of their records."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise


@dataclass(frozen=True)
class Edit:
    """An event that a client has sent into a project. A newer edit with the same key replaces it, unless it has none.

    `accepted`: the server has acknowledged the edit. Without `is_ordered` it was sent while the instances could not
    agree on an order.
    """

    id: str
    project: str
    key: str | None = None
    accepted: bool = False
    is_ordered: bool = True


@dataclass
class Client:
    """A client that was a member of its projects from the first edit of the run to the last.

    `sent` and `received` are in the order of the client. `received` are ids by project.
    """

    name: str
    projects: Sequence[str]
    sent: list[Edit] = field(default_factory=list)
    received: Mapping[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def violations(clients: Collection[Client]) -> list[str]:
    """Return the violations of a run as text, or nothing for a correct run.

    For each project: all clients agree on one order, and on that of each sender where there is none; an edit that the
    server has accepted, or that anybody received, has come to each other member, or a newer edit with its key has;
    nothing came twice; nothing came to its sender.
    """
    found: list[str] = []
    for project in sorted({project for client in clients for project in client.projects}):
        members = [client for client in clients if project in client.projects]
        edits = {edit.id: edit for client in members for edit in client.sent if edit.project == project}
        found += (f"{project}: {problem}" for problem in _repeated(members, project, edits))
        found += (f"{project}: {problem}" for problem in _out_of_turn(members, project))
        try:
            order = _order(members, project, edits)
        except CycleError as error:
            found.append(f"{project}: clients disagree on the order of {', '.join(map(repr, error.args[1]))}")
        else:
            found += (f"{project}: {problem}" for problem in _lost(members, project, edits, order))
    return found


def due(clients: Collection[Client]) -> int:
    """Return the number of deliveries that the checker looks for, to show that a run was not empty."""
    return sum(
        edit.project in client.projects and client is not sender
        for sender in clients
        for edit in sender.sent
        for client in clients
    )


def _repeated(members: Iterable[Client], project: str, edits: Mapping[str, Edit]) -> Iterator[str]:
    for member in members:
        own = {edit.id for edit in member.sent}
        for event_id, times in Counter(member.received[project]).items():
            if event_id not in edits:
                yield f"{member.name} got {event_id!r}, which no member has sent into the project"
            elif event_id in own:
                yield f"{member.name} got its own {event_id!r}"
            elif times > 1:
                yield f"{member.name} got {event_id!r} {times} times"


def _out_of_turn(members: Collection[Client], project: str) -> Iterator[str]:
    """Find edits without a common order that came after a later one of their sender."""
    for sender in members:
        turns = {
            edit.id: turn for turn, edit in enumerate(sender.sent) if edit.project == project and not edit.is_ordered
        }
        for member in members if turns else ():
            came = [event_id for event_id in member.received[project] if event_id in turns]
            for earlier, later in pairwise(came):
                if turns[earlier] > turns[later]:
                    yield f"{member.name} got {later!r} after {earlier!r} of the same sender"


class _Order:
    """The orders of all clients together. Raises `CycleError` if they are not one order.

    `before` has for each edit those right before it, by any client.
    """

    def __init__(self, before: Mapping[str, set[str]]) -> None:
        self._before = before
        self._places = {event_id: place for place, event_id in enumerate(TopologicalSorter(before).static_order())}

    def has_newer(self, event_ids: Collection[str], event_id: str) -> bool:
        """Whether the orders do not put all of these edits before another."""
        place = self._places.get(event_id, -1)
        if any(self._places.get(other, -1) > place for other in event_ids):
            return True
        earlier = self._all_before(event_id)
        return any(other not in earlier for other in event_ids)

    def _all_before(self, event_id: str) -> set[str]:
        pending, seen = [event_id], {event_id}
        while pending:
            more = self._before.get(pending.pop(), set()) - seen
            seen |= more
            pending += more
        return seen


def _order(members: Iterable[Client], project: str, edits: Mapping[str, Edit]) -> _Order:
    """Raises `CycleError` if there is no common order."""
    before: dict[str, set[str]] = defaultdict(set)
    for member in members:
        received = [each for each in member.received[project] if each not in edits or edits[each].is_ordered]
        for chain in (received, [edit.id for edit in member.sent if edit.project == project]):
            for earlier, later in pairwise(chain):
                if earlier != later:
                    before[later].add(earlier)
    return _Order(before)


def _lost(members: Collection[Client], project: str, edits: Mapping[str, Edit], order: _Order) -> Iterator[str]:
    received = {member.name: set(member.received[project]) for member in members}
    known = {member.name: _by_key(member, project, edits) for member in members}
    came = set().union(*received.values())
    for sender in members:
        for edit in (edit for edit in sender.sent if edit.project == project):
            if not edit.accepted and edit.id not in came:
                continue  # never reached the server
            for member in members:
                if member is sender or edit.id in received[member.name]:
                    continue
                if not order.has_newer(known[member.name].get(edit.key, ()), edit.id):
                    yield f"{member.name} did not get {edit.id!r} of {sender.name}"


def _by_key(member: Client, project: str, edits: Mapping[str, Edit]) -> dict[str | None, list[str]]:
    """The edits with a key that a member knows, because it has received or sent them."""
    found: dict[str | None, list[str]] = defaultdict(list)
    for event_id in [*member.received[project], *(edit.id for edit in member.sent)]:
        if event_id in edits and edits[event_id].key is not None:
            found[edits[event_id].key].append(event_id)
    return found
