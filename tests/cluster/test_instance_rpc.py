"""Questions between instances, through a real Redis."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from tests.redis_adapter.clusters import settle
from tests.support.links import MakeLink
from tests.support.logs import capture_logs
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.cluster import instance_rpc as questions_module
from synkora.cluster.instance_rpc import MOST_AT_ONCE, MOST_WAITING, InstanceRpc
from synkora.protocol.errors import InvalidPayload
from synkora.redis.link import Link

LONG = 60.0  # seconds: longer than the test has
SHORT = 0.2
ODD = b'{"id":"x","asker":"../y","topic":"whose","body":1,"within":1}'


class Instance:
    """One of several instances that know of each other. It answers `whose` with its name and the question."""

    def __init__(self, link: Link, name: str, everyone: list["Instance"]) -> None:
        self.link = link
        self.name = name
        self.questions = InstanceRpc(link, lambda: [other.link.uid for other in everyone if other is not self])
        self.questions.on("whose", self._answer)

    async def _answer(self, question: bytes) -> bytes:
        return json.dumps([self.name, json.loads(question)]).encode()

    async def ask(self, topic: str = "whose", *, to: "Instance | None" = None, within: float = LONG) -> list[str]:
        """The names of the answering instances, sorted."""
        found = await self.questions.ask(topic, b'{"a":1}', to=None if to is None else to.link.uid, within=within)
        answers = [json.loads(answer) for answer in found.values()]
        assert all(asked == {"a": 1} for _, asked in answers)
        return sorted(name for name, _ in answers)


Gather = Callable[[int], Awaitable[list[Instance]]]


@pytest.fixture
def gather(make_link: MakeLink) -> Gather:
    async def make(number: int) -> list[Instance]:
        instances: list[Instance] = []
        for name in "abcdef"[:number]:
            instances.append(Instance(make_link(), name, instances))
        for instance in instances:
            assert await instance.link.start(PATIENCE)
        return instances

    return make


async def test_all_others_answer(gather: Gather) -> None:
    """The asking instance gets each answer as soon as all have come, without one of itself."""
    a, b, c = await gather(3)
    assert await a.ask() == ["b", "c"]
    assert list(await asyncio.gather(b.ask(), c.ask())) == [["a", "c"], ["a", "b"]]


async def test_one_alone_is_asked(gather: Gather) -> None:
    a, b, c = await gather(3)
    heard = c.link.received
    assert await a.ask(to=b) == ["b"]
    await settle([c.link])
    assert c.link.received == heard


async def test_a_silent_instance_is_awaited_only_for_the_given_time(gather: Gather) -> None:
    a, b, c = await gather(3)
    c.questions.close()
    await settle([c.link])
    assert await a.ask(within=1) == ["b"]  # whose answer takes longer than SHORT on a busy machine
    assert await a.ask(to=c, within=SHORT) == []
    assert await a.ask(to=b) == ["b"]


async def test_an_instance_without_an_answer_replies_so(gather: Gather, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others do not wait for one that does not know the topic, that fails, or whose answer is too large."""
    a, b, c = await gather(3)

    async def fail(_: bytes) -> bytes:
        raise RuntimeError("a fault")

    async def complain(_: bytes) -> bytes:
        raise InvalidPayload("of another version")

    async def exaggerate(_: bytes) -> bytes:
        return b'"' + b"x" * 1000 + b'"'

    monkeypatch.setattr(questions_module, "MOST_BYTES", 1000)
    b.questions.on("fails", fail)
    b.questions.on("complains", complain)
    b.questions.on("exaggerates", exaggerate)
    with capture_logs() as logs:
        for topic in ("fails", "complains", "exaggerates", "unknown"):
            assert await a.ask(topic) == []
    assert [entry["event"] for entry in logs] == ["question_failed", "answer_too_large"]
    assert b.questions.unreadable == 1
    assert await c.ask() == ["a", "b"]


@pytest.mark.parametrize(("padding", "waits"), [("", MOST_WAITING), ("x" * 20_000, 0)])
async def test_a_flood_of_questions_waits_in_bounds(gather: Gather, padding: str, waits: int) -> None:
    """Some requests are answered at a time, small ones wait, and further ones get an empty answer immediately."""
    a, b = await gather(2)
    asked = 0
    may_answer = asyncio.Event()

    async def answer_later(_: bytes) -> bytes:
        nonlocal asked
        asked += 1
        await may_answer.wait()
        return b'"b"'

    b.questions.on("slow", answer_later)
    question = json.dumps(padding).encode()
    count = MOST_AT_ONCE + waits + 5
    waiting = [asyncio.create_task(a.questions.ask("slow", question, within=LONG)) for _ in range(count)]
    await until(lambda: sum(task.done() for task in waiting) == 5)
    assert asked == MOST_AT_ONCE
    assert await a.ask() == ["b"]  # another topic
    may_answer.set()
    answers = await asyncio.gather(*waiting)
    assert answers.count({b.link.uid: b'"b"'}) == MOST_AT_ONCE + waits
    assert answers.count({}) == 5
    assert await a.questions.ask("slow", question, within=LONG) == {b.link.uid: b'"b"'}


async def test_a_question_that_waits_longer_than_its_asker_is_not_answered(gather: Gather) -> None:
    a, b = await gather(2)
    asked: list[bytes] = []
    may_answer = asyncio.Event()

    async def answer_later(question: bytes) -> bytes:
        asked.append(question)
        await may_answer.wait()
        return b'"b"'

    b.questions.on("slow", answer_later)
    waiting = [asyncio.create_task(a.questions.ask("slow", b"1", within=LONG)) for _ in range(MOST_AT_ONCE)]
    await until(lambda: len(asked) == MOST_AT_ONCE)
    assert await a.questions.ask("slow", b'"late"', within=SHORT) == {}
    await until(lambda: b.questions._unanswered["slow"] == MOST_AT_ONCE)
    may_answer.set()
    await asyncio.gather(*waiting)
    assert set(asked) == {b"1"}


async def test_an_answer_that_is_no_longer_awaited_is_cancelled(gather: Gather) -> None:
    """The question contains the time for which the asker waits."""
    a, b = await gather(2)
    given_up = asyncio.Event()

    async def never(_: bytes) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        return b""

    b.questions.on("slow", never)
    with capture_logs() as logs:
        assert await a.ask("slow", within=SHORT) == []
        await asyncio.wait_for(given_up.wait(), PATIENCE)
        assert await a.ask() == ["b"]
    assert logs == []


@pytest.mark.parametrize("forged", ["own", "", "a b,c:1\n", "x\n", "../x", "x" * 41])
async def test_answers_under_the_askers_id_or_an_invalid_id_are_ignored(
    gather: Gather, redis: RedisServer, forged: str
) -> None:
    """Instance ids are shown, and are part of further requests."""
    a, b = await gather(2)

    async def forge(_: bytes) -> bytes:
        (number,) = a.questions._asked
        answer = {"id": number, "instance": a.link.uid if forged == "own" else forged, "body": 1}
        redis.do("PUBLISH", f"synkora:answers:{a.link.uid}", json.dumps(answer))
        return b"2"

    b.questions.on("forged", forge)
    assert await a.questions.ask("forged", b"1", within=LONG) == {b.link.uid: b"2"}
    assert a.questions.unreadable == 1


async def test_no_request_is_sent_without_known_instances_or_without_redis(gather: Gather, redis: RedisServer) -> None:
    (alone,) = await gather(1)
    published = alone.link.published
    assert await alone.ask() == []
    assert alone.link.published == published
    a, _ = await gather(2)
    redis.kill()
    await until(lambda: not a.link.is_up)
    assert await a.ask() == []


async def test_nodejs_servers_do_not_get_the_messages(gather: Gather, redis: RedisServer) -> None:
    """Their adapter subscribes only to channels that begin with its key."""
    a, _ = await gather(2)
    assert await a.ask() == ["b"]
    channels = redis.do("PUBSUB", "CHANNELS", "*")
    ours = [channel for channel in channels if b"questions" in channel or b"answers" in channel]
    assert len(ours) == 5  # the common one, and two of each instance
    assert not [channel for channel in ours if channel.startswith(b"socket.io")]


@pytest.mark.parametrize(
    "message", [b"", b"{", b"[]", b'{"id":1}', b'{"id":"x","asker":"y","topic":"whose"}', b"\xff", ODD]
)
async def test_invalid_messages_are_counted_and_ignored(gather: Gather, redis: RedisServer, message: bytes) -> None:
    a, b = await gather(2)
    for channel in redis.do("PUBSUB", "CHANNELS", "synkora:*"):
        redis.do("PUBLISH", channel, message)
    await until(lambda: b.questions.unreadable == 3)
    assert await a.ask() == ["b"]


async def test_an_unexpected_answer_is_ignored(gather: Gather, redis: RedisServer) -> None:
    """A late one, or one that was never requested."""
    a, _ = await gather(2)
    channel = f"synkora:answers:{a.link.uid}"
    redis.do("PUBLISH", channel, '{"id":"late","instance":"b","body":1}')
    assert await a.ask() == ["b"]
    assert a.questions.unreadable == 0


async def test_after_close_no_request_is_answered(gather: Gather) -> None:
    a, b = await gather(2)

    async def never(_: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    b.questions.on("slow", never)
    asking = asyncio.create_task(a.ask("slow", within=SHORT))
    await until(lambda: len(b.questions._tasks) == 1)
    b.questions.close()
    assert await asking == []
    await until(lambda: not b.questions._tasks)
