"""The checker finds errors, and none in a correct run."""

import random
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.recovery.checker import Client, Edit, due, violations

PROJECTS = ("p", "q")


def run(seed: int) -> list[Client]:
    """A correct run: clients that were disconnected get the newest of each key when they return."""
    chance = random.Random(seed)
    clients = [Client(f"c{number}", PROJECTS if number < 3 else PROJECTS[:1]) for number in range(5)]
    missed: dict[str, list[Edit]] = {}
    for number in range(60):
        sender = chance.choice(clients)
        if sender.name in missed:
            _replay(sender, missed.pop(sender.name))
        key = chance.choice((None, None, "k", "l"))
        edit = Edit(f"e{number}", chance.choice(list(sender.projects)), key, accepted=True)
        sender.sent.append(edit)
        for client in clients:
            if client is sender or edit.project not in client.projects:
                continue
            if client.name in missed:
                kept = missed[client.name]
                kept[:] = [old for old in kept if (old.project, old.key) != (edit.project, edit.key) or not old.key]
                kept.append(edit)
            else:
                client.received[edit.project].append(edit.id)
        chosen = chance.choice(clients)
        if chance.random() < 0.5:
            missed.setdefault(chosen.name, [])
        elif chosen.name in missed:
            _replay(chosen, missed.pop(chosen.name))
    for client in clients:
        _replay(client, missed.get(client.name, []))
    return clients


def _replay(client: Client, edits: list[Edit]) -> None:
    for edit in edits:
        client.received[edit.project].append(edit.id)


@given(st.integers(0, 10_000))
def test_a_right_run_passes(seed: int) -> None:
    """Also with disconnected clients that got only the newest of each key."""
    clients = run(seed)
    assert violations(clients) == []
    assert due(clients) > 100


@pytest.mark.parametrize("seed", range(20))
def test_a_lost_edit_is_found(seed: int) -> None:
    """One without a key, which one client did not get."""
    clients = run(seed)
    keys = {edit.id: edit.key for client in clients for edit in client.sent}
    client = random.Random(seed).choice([client for client in clients if client.received["p"]])
    lost = next(event_id for event_id in client.received["p"] if keys[event_id] is None)
    client.received["p"].remove(lost)
    assert [problem for problem in violations(clients) if f"{client.name} did not get {lost!r}" in problem]


def test_an_undelivered_edit_is_found() -> None:
    sent = [Edit("a", "p", accepted=True), Edit("b", "p")]
    assert violations([Client("c1", ["p"], sent), Client("c2", ["p"])]) == ["p: c2 did not get 'a' of c1"]


@pytest.mark.parametrize("seed", range(20))
def test_an_edit_that_came_twice_is_found(seed: int) -> None:
    clients = run(seed)
    client = random.Random(seed).choice([client for client in clients if client.received["p"]])
    event_id = client.received["p"][0]
    client.received["p"].insert(1 if seed % 2 else len(client.received["p"]), event_id)
    assert [problem for problem in violations(clients) if f"{client.name} got {event_id!r} 2 times" in problem]


@pytest.mark.parametrize("seed", range(20))
def test_another_order_is_found(seed: int) -> None:
    """One client got two neighbours in reverse order."""
    clients = run(seed)
    client = clients[-1]
    received = client.received["p"]
    received[3], received[4] = received[4], received[3]
    assert [problem for problem in violations(clients) if "disagree on the order" in problem]


def test_an_order_that_only_three_clients_show_is_found() -> None:
    sender = Client("s", ["p"], [])
    others = [Client(f"s{event_id}", ["p"], [Edit(event_id, "p")]) for event_id in "abc"]
    clients = [Client("1", ["p"]), Client("2", ["p"]), Client("3", ["p"]), sender, *others]
    for client, ids in zip(clients, ("ab", "bc", "ca"), strict=False):
        client.received["p"].extend(ids)
    assert [problem for problem in violations(clients) if "disagree on the order" in problem]


def test_the_order_of_a_sender_is_its_own() -> None:
    """Others may not get its edits in another order."""
    sender = Client("s", ["p"], [Edit("a", "p"), Edit("b", "p")])
    receiver = Client("r", ["p"], received=defaultdict(list, p=["b", "a"]))
    assert [problem for problem in violations([sender, receiver]) if "disagree on the order" in problem]


def test_an_own_edit_that_is_returned_is_found() -> None:
    sender = Client("s", ["p"], [Edit("a", "p")], defaultdict(list, p=["a"]))
    assert violations([sender]) == ["p: s got its own 'a'"]


def test_an_edit_without_a_sender_is_found() -> None:
    sender = Client("s", ["p", "q"], [Edit("a", "q")])
    receiver = Client("r", ["p"], received=defaultdict(list, p=["a"]))
    assert violations([sender, receiver]) == ["p: r got 'a', which no member has sent into the project"]


def test_only_a_newer_edit_replaces_one() -> None:
    """With the same key, and of the same project. The client's own edit counts, since it was sent last."""
    old, new = Edit("old", "p", "k", accepted=True), Edit("new", "p", "k", accepted=True)
    sender = Client("s", ["p"], [old, new])
    reader = Client("r", ["p"], received=defaultdict(list, p=["new"]))
    assert violations([sender, reader]) == []
    reader.received["p"][:] = ["old"]
    assert violations([sender, reader]) == ["p: r did not get 'new' of s"]
    other = Client("s", ["p"], [old, Edit("new", "p", "l", accepted=True)])
    reader.received["p"][:] = ["new"]
    assert violations([other, reader]) == ["p: r did not get 'old' of s"]
    writer = Client("w", ["p"], [Edit("mine", "p", "k", accepted=True)])
    one = Client("s", ["p"], [old], defaultdict(list, p=["mine"]))
    assert violations([one, writer]) == []


def unordered(*ids: str) -> list[Edit]:
    """Edits that the server has accepted while there was no common order."""
    return [Edit(event_id, "p", accepted=True, is_ordered=False) for event_id in ids]


def test_without_a_common_order_each_sender_has_its_own() -> None:
    """Those of two senders may come to one client this way and to another that way."""
    senders = Client("s", ["p"], unordered("a", "b")), Client("t", ["p"], unordered("c"))
    senders[0].received["p"].append("c")
    senders[1].received["p"].extend("ab")
    readers = [Client(f"r{ids}", ["p"], received=defaultdict(list, p=list(ids))) for ids in ("abc", "cab", "acb")]
    assert violations([*senders, *readers]) == []
    readers[0].received["p"][:] = "bac"
    assert violations([*senders, *readers]) == ["p: rabc got 'a' after 'b' of the same sender"]


def test_without_a_common_order_nothing_may_be_lost_or_doubled() -> None:
    sender = Client("s", ["p"], unordered("a", "b"))
    reader = Client("r", ["p"], received=defaultdict(list, p=["b"]))
    assert violations([sender, reader]) == ["p: r did not get 'a' of s"]
    reader.received["p"][:] = "abb"
    assert violations([sender, reader]) == ["p: r got 'b' 2 times"]


def test_the_edits_around_a_time_without_an_order_have_one() -> None:
    sender = Client("s", ["p"], [Edit("a", "p"), *unordered("b"), Edit("c", "p")])
    reader = Client("r", ["p"], received=defaultdict(list, p=["c", "b", "a"]))
    assert [problem for problem in violations([sender, reader]) if "disagree on the order" in problem]
