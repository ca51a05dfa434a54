"""Updates that a client with a backlog may miss."""

import asyncio
import weakref

from tests.engine.outboxes import Client, message, names
from tests.support.sessions import turn

from synkora.engine.message import Message
from synkora.engine.outbox import Flusher
from synkora.engine.state_updates import Bundle, Update


class Project:
    def __init__(self, name: str) -> None:
        self.name = name
        self.renewed: list[object] = []
        self.is_left = False

    def has_recipient(self, outbox: object) -> bool:
        return not self.is_left

    def full_state(self, outbox: object) -> list[Message]:
        self.renewed.append(outbox)
        return [message(f"all of {self.name}")]


async def test_a_client_is_never_cut_off_for_updates(flusher: Flusher) -> None:
    """It may miss any number of them: little is held, and it gets the whole state afterwards."""
    client, project = Client(flusher), Project("p")
    client.carrier.writable = False
    client.outbox.put(message("edit"))
    for number in range(1000):
        await client.get(Update(message(str(number), size=10_000).data, project))
    assert client.failures == []
    assert client.outbox.waiting_bytes < 100
    client.outbox.put(message("last"))
    client.resume()
    assert names(client) == ["edit", "last", "all of p"]
    assert project.renewed == [client.outbox]
    assert client.outbox.is_empty
    assert flusher.backlogged == set()
    await client.get(Update(message("news").data, project))
    assert names(client)[-1] == "news"


async def test_each_subject_is_sent_in_its_own_write() -> None:
    """After dropped updates of several subjects, each state is written when the client has taken the previous one."""
    client, projects = Client(Flusher()), [Project("p"), Project("q")]
    client.carrier.writable = False
    for project in projects:
        client.outbox.put(Update(message("x", size=70_000).data, project))
    await turn()
    client.resume()
    assert len(client.carrier.packets) == 1
    assert not client.outbox.is_empty
    await turn()
    assert sorted(names(client)) == ["all of p", "all of q"]
    assert client.outbox.is_empty


async def test_the_full_state_is_sent_with_the_backlog_in_one_poll() -> None:
    """Between two polls all messages wait. The next poll also gets the full state of dropped subjects."""
    client, project = Client(Flusher()), Project("p")
    client.carrier.name = "polling"
    client.carrier.writable = False
    client.outbox.put(Update(message("list", size=70_000).data, project))
    await client.get(message("edit"))
    client.resume()
    assert names(client) == ["edit", "all of p"]


async def test_a_bundle_is_encoded_like_its_updates() -> None:
    """In each wire form, the bytes are those of the single updates."""
    project = Project("p")
    updates = [Update(f"update {number}".encode(), project) for number in range(3)]
    bundle = Bundle(updates, project)
    assert bundle.frames == b"".join(update.frames for update in updates)
    assert bundle.messages() == ["4update 0", "4update 1", "4update 2"]
    assert bundle.polling_part() == b"4update 0\x1e4update 1\x1e4update 2"
    assert bundle.deflated_frames(5) == b"".join(update.deflated_frames(5) for update in updates)
    assert bundle.size == sum(update.size for update in updates)


async def test_subjects_that_a_client_has_left_are_not_kept() -> None:
    """A client that reads nothing, and joins and leaves projects endlessly, takes little memory."""
    client, stays = Client(Flusher()), Project("p")
    client.carrier.writable = False
    await client.get(Update(message("x", size=70_000).data, stays))
    left = []
    for number in range(1000):
        project = Project(str(number))
        project.is_left = True
        left.append(weakref.ref(project))
        client.outbox.put(Update(message("x", size=70_000).data, project))
        del project
        await turn()
    assert sum(reference() is not None for reference in left) <= 101
    client.resume()
    async with asyncio.timeout(60):
        while not client.outbox.is_empty:
            await turn()
    assert stays.renewed == [client.outbox]
