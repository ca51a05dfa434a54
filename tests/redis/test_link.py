"""The link with a real Redis: messages, commands and their order."""

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest
from tests.access.listeners import listening
from tests.support.links import QUICK, MakeLink, started
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.redis.errors import LinkDown, RedisRefused
from synkora.redis.link import Link, Script


async def test_a_message_reaches_all_subscribers_and_its_publisher(make_link: MakeLink) -> None:
    """Publishing needs no subscription. A subscriber also gets its own messages."""
    one, other = make_link(), make_link()
    assert await one.start(PATIENCE)
    assert await other.start(PATIENCE)
    heard: list[tuple[str, bytes]] = []
    one.subscribe(b"news", lambda message: heard.append(("one", message)))
    other.subscribe(b"news", lambda message: heard.append(("other", message)))
    await other.call("PING")
    one.publish(b"news", b"\x00\r\n\xff")
    other.publish(b"else", b"not for us")
    await until(lambda: len(heard) == 2)
    assert sorted(heard) == [("one", b"\x00\r\n\xff"), ("other", b"\x00\r\n\xff")]


async def test_messages_are_received_in_the_order_of_publication(link: Link) -> None:
    """Over several channels and beyond the size of one write."""
    heard: list[bytes] = []
    for name in (b"a", b"b"):
        link.subscribe(name, heard.append)
    sent = [b"%d" % number * (1 + number % 7 * 3000) for number in range(300)]
    for number, message in enumerate(sent):
        link.publish((b"a", b"b")[number % 2], message)
    await until(lambda: len(heard) == len(sent))
    assert heard == sent


async def test_an_unsubscribed_channel_delivers_nothing(link: Link, redis: RedisServer) -> None:
    """From the call on. Redis gets UNSUBSCRIBE."""
    heard: list[bytes] = []
    link.subscribe(b"news", heard.append)
    await link.call("PING")
    link.publish(b"news", b"old")
    link.unsubscribe(b"news")
    link.unsubscribe(b"never subscribed")
    await until(lambda: redis.do("PUBSUB", "NUMSUB", "news") == [b"news", 0])
    assert heard == []


async def test_subscriptions_of_a_turn_are_one_command_and_their_net_effect(link: Link, redis: RedisServer) -> None:
    """Redis gets no command for a channel that is subscribed and unsubscribed in one turn, or vice versa."""
    heard: list[bytes] = []
    link.subscribe(b"kept", heard.append)
    await link.call("PING")
    redis.do("CONFIG", "RESETSTAT")
    for number in range(1500):
        link.subscribe(b"room %d" % number, heard.append)
    link.subscribe(b"brief", heard.append)
    link.unsubscribe(b"brief")
    link.unsubscribe(b"kept")
    link.subscribe(b"kept", heard.append)
    await until(lambda: len(redis.do("PUBSUB", "CHANNELS", "room *")) == 1500)
    stats = redis.do("INFO", "commandstats").decode()
    assert "cmdstat_subscribe:calls=2," in stats
    assert "cmdstat_unsubscribe" not in stats
    assert redis.do("PUBSUB", "NUMSUB", "kept", "brief") == [b"kept", 1, b"brief", 0]


async def test_very_many_subscriptions_do_not_end_a_new_connection(make_link: MakeLink, redis: RedisServer) -> None:
    """Together they are larger than what a link holds: they are renewed a part at a time, and all before `on_up`."""
    link = make_link(settings=replace(QUICK, max_waiting=1_000_000, timeout=10))
    for number in range(20_000):
        link.subscribe(b"room %d " % number + b"x" * 900, lambda _: None)
    subscribed: list[int] = []
    link.on_up.append(lambda: subscribed.append(len(redis.do("PUBSUB", "CHANNELS", "room *"))))
    assert await link.start(PATIENCE)
    assert subscribed == [20_000]
    link.subscribe(b"room later", lambda _: None)
    await link.call("PING")
    assert redis.do("PUBSUB", "NUMSUB", "room later") == [b"room later", 1]
    assert link.reconnects == 0


async def test_a_redis_that_does_not_confirm_subscriptions_is_left(make_link: MakeLink) -> None:
    """Each part of them has the time of the handshake."""
    answers = {b"HELLO": b"%1\r\n+mode\r\n+standalone\r\n", b"EVAL": b":1\r\n"}

    async def serve(reader: Any, writer: Any) -> None:
        while data := await reader.read(10_000):
            writer.write(next((answer for command, answer in answers.items() if command in data), b""))

    async with listening(serve) as other:
        link = make_link(f"redis://127.0.0.1:{other.port}", replace(QUICK, timeout=0.3))
        assert not await link.start(0.6)
        assert link.problem == "Redis did not answer within 0.3 s"
        await link.close()


async def test_a_new_receiver_replaces_the_old_one(link: Link) -> None:
    old: list[bytes] = []
    new: list[bytes] = []
    link.subscribe(b"news", old.append)
    link.subscribe(b"news", new.append)
    link.publish(b"news", b"x")
    await until(lambda: new)
    assert (old, new) == ([], [b"x"])


async def test_a_channel_subscribed_before_a_command_is_received_from_then_on(link: Link) -> None:
    """In one turn: subscriptions are in effect before the messages that a later command or message causes."""
    heard: list[bytes] = []
    link.subscribe(b"by command", heard.append)
    reached = link.call("PUBLISH", "by command", "1")
    link.subscribe(b"by message", heard.append)
    link.publish(b"by message", b"2")
    later = link.call("PUBLISH", "later", "3")
    link.subscribe(b"later", heard.append)
    assert (await reached, await later) == (1, 0)
    await until(lambda: len(heard) == 2)
    assert heard == [b"1", b"2"]


async def test_a_reply_is_handled_in_order_among_the_messages(link: Link) -> None:
    """`answered` is called between the messages before the reply and those after it."""
    log: list[Any] = []
    link.subscribe(b"news", log.append)
    link.publish(b"news", b"before")
    # Newer Redis hands us our own message after the reply to its publishing: by the second reply it has come.
    link.call("PING")
    future = link.call("ECHO", "reply", answered=log.append)
    link.publish(b"news", b"after")
    await until(lambda: len(log) == 3)
    assert log == [b"before", b"reply", b"after"]
    assert await future == b"reply"


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("return nil", None),
        ("redis.setresp(3); return false", False),
        ("redis.setresp(3); return true", True),
        ("return 0", 0),
        ("return {double = 1.5}", 1.5),
        ("return ''", b""),
        ("return {1, {'x'}}", [1, [b"x"]]),
        ("return {map = {a = 1}}", {b"a": 1}),
    ],
)
async def test_replies_of_any_kind_are_handed_on(link: Link, text: str, reply: Any) -> None:
    """Including null and false of RESP3."""
    answer = await link.run(Script(text), [], [])
    assert (type(answer), answer) == (type(reply), reply)


async def test_an_error_reply_is_raised_and_harms_no_other_command(link: Link) -> None:
    replies = await asyncio.gather(
        link.call("SET", "a", 1), link.call("LPUSH", "a", 1), link.call("GET", "a"), return_exceptions=True
    )
    assert replies[0] == b"OK"
    assert isinstance(replies[1], RedisRefused)
    assert replies[1].code == "WRONGTYPE"
    assert replies[2] == b"1"
    assert link.is_up


async def test_a_reply_that_is_no_longer_awaited_is_ignored(link: Link) -> None:
    """Other replies still reach their own callers."""
    given_up = link.call("ECHO", "1")
    given_up.cancel()
    assert await link.call("ECHO", "2") == b"2"


async def test_a_script_is_sent_once_and_runs_again_after_redis_has_forgotten_it(
    link: Link, redis: RedisServer
) -> None:
    """A connection sends the text before the first run. If Redis has lost it, the link ends: no order is lost."""
    script = Script("return {KEYS[1], ARGV[1], ARGV[2]}")
    redis.do("CONFIG", "RESETSTAT")
    replies = [link.run(script, [b"key"], [b"\xff", 7]) for _ in range(3)]
    assert await asyncio.gather(*replies) == [[b"key", b"\xff", b"7"]] * 3
    stats = redis.do("INFO", "commandstats").decode()
    assert "cmdstat_script|load:calls=1," in stats
    assert "cmdstat_evalsha:calls=3," in stats
    redis.do("SCRIPT", "FLUSH")
    taken: list[Any] = []
    with pytest.raises(LinkDown, match="Redis has forgotten its scripts"):
        await link.run(script, ["key"], ["a", "b"], answered=taken.append)
    await until(lambda: link.is_up)
    assert await link.run(script, ["key"], ["a", "b"], answered=taken.append) == [b"key", b"a", b"b"]
    assert taken == [[b"key", b"a", b"b"]]


async def test_scripts_run_in_the_order_of_the_calls_though_some_are_new(link: Link) -> None:
    append = Script("return redis.call('RPUSH', KEYS[1], ARGV[1])")
    other = Script("return redis.call('RPUSH', KEYS[1], 'other ' .. ARGV[1])")
    await link.run(append, ["list"], ["0"])
    runs = [link.run(other, ["list"], ["1"]), link.run(append, ["list"], ["2"]), link.run(other, ["list"], ["3"])]
    assert await asyncio.gather(*runs) == [2, 3, 4]
    assert await link.call("LRANGE", "list", 0, -1) == [b"0", b"other 1", b"2", b"other 3"]


def fail(_: bytes) -> None:
    raise RuntimeError("a fault of the test's own")


async def test_a_receiver_that_fails_harms_no_other(link: Link) -> None:
    """Its error is logged. Other messages and replies are delivered."""
    heard: list[bytes] = []
    link.subscribe(b"bad", fail)
    link.subscribe(b"good", heard.append)
    link.publish(b"bad", b"1")
    link.publish(b"good", b"2")
    assert await link.call("ECHO", "x", answered=fail) == b"x"
    await until(lambda: heard == [b"2"])
    assert link.is_up


async def test_all_that_is_written_in_a_turn_is_one_write(link: Link) -> None:
    """One system call for any number of messages, commands and subscriptions."""
    connection = link._connection
    assert connection is not None
    written: list[bytes] = []
    transport = connection._transport

    class Recording:
        def __getattr__(self, name: str) -> Any:
            return getattr(transport, name)

        def write(self, data: bytes) -> None:
            written.append(data)
            assert transport is not None
            transport.write(data)

    connection._transport = Recording()  # type: ignore[assignment]  # it is one by what it does
    await asyncio.sleep(0)
    written.clear()
    for number in range(100):
        link.publish(b"a", b"message %d" % number)
    link.subscribe(b"c", lambda _: None)
    reply = link.call("ECHO", "x")
    link.unsubscribe(b"c")
    link.subscribe(b"d", lambda _: None)
    await asyncio.sleep(0)
    assert len(written) == 1
    assert written[0].count(b"PUBLISH") == 100
    assert re.search(rb"SUBSCRIBE.*ECHO.*SUBSCRIBE.*UNSUBSCRIBE", written[0], re.DOTALL)
    await reply


async def test_each_link_has_a_name_of_its_own_that_redis_shows(make_link: MakeLink, redis: RedisServer) -> None:
    """Six letters or digits, different for each link, in the list of clients."""
    uids = {make_link().uid for _ in range(50)}
    assert len(uids) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9]{6}", uid) for uid in uids)
    link = await started(make_link())
    assert f"name=synkora-{link.uid} " in redis.do("CLIENT", "LIST").decode()


async def test_closing_has_redis_take_all_that_was_written(make_link: MakeLink, redis: RedisServer) -> None:
    """However late. Afterwards no command is accepted, and `on_down` is not called."""
    link = await started(make_link())
    down: list[int] = []
    link.on_down.append(lambda: down.append(1))
    redis.pause()
    for number in range(200):
        last = link.call("SET", "key", b"%3d" % number * 10_000)
    closing = asyncio.create_task(link.close())
    await asyncio.sleep(0.05)
    redis.resume()
    await closing
    assert redis.do("GET", "key") == b"199" * 10_000
    assert await last == b"OK"
    assert not link.is_up
    assert not down
    with pytest.raises(LinkDown, match="the server is stopping"):
        await link.call("PING")
    await until(lambda: b"synkora-" not in redis.do("CLIENT", "LIST"))


async def test_it_counts_what_it_does(link: Link) -> None:
    """Published, received (heartbeats included) and dropped messages, and the round trip."""
    before = link.received
    heard: list[bytes] = []
    link.subscribe(b"a", heard.append)
    for _ in range(5):
        link.publish(b"a", b"x")
    await until(lambda: len(heard) == 5)
    assert link.published == 5
    assert link.received >= before + 5
    assert link.round_trip is not None
    assert 0 < link.round_trip < 5
    received = link.received
    await link.close()
    assert link.received >= received
    link.publish(b"a", b"x")
    assert (link.published, link.dropped) == (5, 1)


async def test_a_key_that_a_script_does_not_declare_fails_the_tests(link: Link) -> None:
    """The links of the tests refuse it, as Dragonfly does: so each test of a script is one of its keys."""
    for text in ("return redis.call('GET', 'synkora:a')", "return redis.call('DEL', KEYS[1], 'synkora:a')"):
        with pytest.raises(RedisRefused, match="undeclared key synkora:a"):
            await link.run(Script(text), ["synkora:b"], [])
    assert await link.run(Script("return redis.call('GET', KEYS[1])"), ["synkora:b"], []) is None
