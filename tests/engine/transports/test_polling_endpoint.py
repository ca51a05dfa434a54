import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from tests.support.clients import Polling, websocket
from tests.support.processes import PATIENCE
from tests.support.servers import Address, Engine, serving_engine, until

from synkora.engine.close_reasons import Reason
from synkora.engine.origins import Origins
from synkora.engine.session import State
from synkora.engine.transports.polling_endpoint import PollingEndpoint

PAGE = "https://app.example.com"
MAX = 10_000


@pytest.fixture
def engine() -> Engine:
    return Engine(echoes=True, max_payload=MAX, origins=Origins([PAGE]))


@pytest.fixture(params=[False, True], ids=["asgi", "call"])
async def address(engine: Engine, request: pytest.FixtureRequest) -> AsyncIterator[Address]:
    async with serving_engine(engine, polls_by_call=request.param) as address:
        yield address


@pytest.fixture
async def client(address: Address) -> AsyncIterator[Polling]:
    async with Polling(address) as client:
        yield client


async def hanging_poll(client: Polling, engine: Engine) -> asyncio.Task[list[str]]:
    """A poll that has reached the server and waits there."""
    poll = asyncio.create_task(client.poll())
    await until(lambda: engine.recorders[0].session.transport.writable)
    return poll


async def rest(client: Polling) -> list[str]:
    """The remaining packets for polls of a closed session."""
    packets: list[str] = []
    while (answer := await client.get()).status_code == 200:
        packets += answer.text.split("\x1e")
    assert answer.json() == {"code": 1, "message": "Session ID unknown"}
    return packets


async def test_a_poll_that_hangs_is_answered_with_the_next_message(client: Polling, engine: Engine) -> None:
    poll = await hanging_poll(client, engine)
    engine.recorders[0].session.send(b"hello")
    assert await poll == ["4hello"]


async def test_all_waiting_messages_are_one_payload(client: Polling, engine: Engine) -> None:
    """Messages between two polls are the answer to the second."""
    for text in (b"one", b"two"):
        engine.recorders[0].session.send(text)
        await asyncio.sleep(0)
    assert await client.poll() == ["4one", "4two"]


async def test_answers_are_not_cached(client: Polling) -> None:
    """Polls and posts have Socket.IO's content types."""
    posted = await client.post("4x")
    answered = await client.get()
    assert posted.text == "ok"
    assert [answer.headers["cache-control"] for answer in (posted, answered)] == ["no-store"] * 2
    assert answered.headers["content-type"] == "text/plain; charset=UTF-8"


async def test_two_polls_at_a_time_end_the_session(client: Polling, engine: Engine) -> None:
    """The second is refused, the first is answered with a close, and the id is unknown afterwards."""
    poll = await hanging_poll(client, engine)
    second = await client.get()
    assert (second.status_code, second.json()["code"]) == (400, 3)
    assert await poll == ["1"]
    assert (await client.get()).json() == {"code": 1, "message": "Session ID unknown"}
    assert engine.recorders[0].reasons == [Reason.TRANSPORT_ERROR]


async def test_a_poll_that_a_proxy_sends_again_ends_the_session(client: Polling, engine: Engine) -> None:
    """The response to the first one did not reach the client, which would never know what it missed."""
    engine.recorders[0].session.send(b"lost")
    url = f"{client.address.url(sid=client.sid)}&t=abc1"
    assert (await client.http.get(url)).text == "4lost"
    again = await client.http.get(url)
    assert (again.status_code, again.json()["message"]) == (400, "the response to this poll was lost")
    assert engine.recorders[0].reasons == [Reason.TRANSPORT_ERROR]


async def test_polls_with_stamps_of_their_own_are_answered(client: Polling, engine: Engine) -> None:
    """Neither of their order, nor of an empty or very long stamp."""
    for stamp in ("a", "b", "a", "", "", "x" * 65, "x" * 65):
        engine.recorders[0].session.send(b"hello")
        answer = await client.http.get(f"{client.address.url(sid=client.sid)}&t={stamp}")
        assert answer.text == "4hello"


async def test_a_post_that_a_proxy_sends_again_is_handled_once(client: Polling, engine: Engine) -> None:
    """It is accepted again."""
    url = client.address.url(sid=client.sid)
    for stamp, packet in [("a", "4one"), ("a", "4one"), ("b", "4two"), ("", "4three"), ("", "4three")]:
        assert (await client.http.post(f"{url}&t={stamp}", content=packet)).text == "ok"
    assert engine.recorders[0].messages == [b"one", b"two", b"three", b"three"]


async def test_two_posts_at_a_time_end_the_session(client: Polling, address: Address, engine: Engine) -> None:
    """A POST during the body of another one is an error."""
    reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
    target = address.url(sid=client.sid).removeprefix(address.http)
    writer.write(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n4par".encode())
    await until(lambda: engine.recorders[0].session.transport.is_posting)  # type: ignore[attr-defined]  # it is polling
    second = await client.post("4x")
    assert (second.status_code, second.json()["code"]) == (400, 3)
    assert engine.recorders[0].reasons == [Reason.TRANSPORT_ERROR]
    writer.close()
    del reader


async def test_a_poll_that_the_client_gives_up_ends_the_session(client: Polling, engine: Engine) -> None:
    """A GET whose connection ends is a transport error."""
    poll = await hanging_poll(client, engine)
    poll.cancel()
    await until(lambda: engine.recorders[0].reasons)
    assert engine.recorders[0].reasons == [Reason.TRANSPORT_ERROR]
    assert len(engine.registry) == 0


async def test_a_post_that_the_client_gives_up_ends_the_session(
    client: Polling, address: Address, engine: Engine
) -> None:
    """An incomplete body is a transport error, and no packet is delivered."""
    _, writer = await asyncio.open_connection("127.0.0.1", address.port)
    target = address.url(sid=client.sid).removeprefix(address.http)
    writer.write(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n4par".encode())
    await until(lambda: engine.recorders[0].session.transport.is_posting)  # type: ignore[attr-defined]  # it is polling
    writer.close()
    await until(lambda: engine.recorders[0].reasons)
    assert engine.recorders[0].reasons == [Reason.TRANSPORT_ERROR]
    assert engine.recorders[0].messages == []


async def test_a_post_whose_session_has_ended_is_answered(client: Polling, address: Address, engine: Engine) -> None:
    """With its next part: a client could send parts for hours, without a session that counts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
    target = address.url(sid=client.sid).removeprefix(address.http)
    writer.write(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n4par".encode())
    await until(lambda: engine.recorders[0].session.transport.is_posting)  # type: ignore[attr-defined]  # it is polling
    engine.recorders[0].session.close(Reason.FORCED_SERVER_CLOSE)
    writer.write(b"ts")
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Session ID unknown" in await reader.readuntil(b"}")
    writer.close()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.PARSE_ERROR),
        (b"\x1e", Reason.PARSE_ERROR),
        (b"abc", Reason.PARSE_ERROR),
        (b"2", Reason.TRANSPORT_ERROR),
        (b"b!!", Reason.PARSE_ERROR),
        (b"3\x1e\x1e3", Reason.PARSE_ERROR),
        ("4ok".encode("utf-16"), Reason.PARSE_ERROR),
        (b"4\xff", Reason.PARSE_ERROR),
        (b"4ok\x1e4\xc3", Reason.PARSE_ERROR),
    ],
)
async def test_a_post_that_breaks_the_protocol_ends_the_session(
    client: Polling, engine: Engine, body: bytes, reason: Reason
) -> None:
    """The answer is 400 with Engine.IO's error. Queued messages are delivered first."""
    answer = await client.post(body)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert engine.recorders[0].reasons == [reason]
    assert await rest(client) == (["4ok", "1"] if b"4ok" in body else [])


async def test_a_post_over_the_limit_ends_the_session(client: Polling, engine: Engine) -> None:
    """The largest payload is accepted. One byte more is answered with 413."""
    assert (await client.post(b"4" + b"x" * (MAX - 1))).status_code == 200
    assert len((await client.poll())[0]) == MAX
    answer = await client.post(b"4" + b"x" * MAX)
    assert (answer.status_code, answer.json()["code"]) == (413, 3)
    assert engine.recorders[0].reasons == [Reason.TRANSPORT_ERROR]
    assert len(engine.recorders[0].messages) == 1


async def test_packets_after_an_error_in_a_post_are_ignored(client: Polling, engine: Engine) -> None:
    await client.post("4before", "x", "4after")
    assert engine.recorders[0].messages == [b"before"]


@pytest.mark.parametrize("body", ["x", "b!!", "", "4ok\x1e9", "2", "4" + "x" * MAX])
@pytest.mark.parametrize("is_polling", [False, True])
async def test_queued_messages_precede_the_end_after_an_error(
    client: Polling, engine: Engine, body: str, is_polling: bool
) -> None:
    """The pending or next poll gets the earlier messages."""
    session = engine.recorders[0].session
    poll = await hanging_poll(client, engine) if is_polling else None
    session.send(b"queued")
    assert (await client.post(body)).status_code in (400, 413)
    assert not session.is_live
    assert (await client.post("4late")).status_code == 400
    packets = [] if poll is None else await poll
    packets += await rest(client)
    echoed = ["4ok"] if "4ok" in body else []
    assert packets == ["4queued", *echoed, *(["1"] if echoed or not is_polling else [])]
    assert b"late" not in engine.recorders[0].messages


async def test_the_clients_close_releases_the_poll(client: Polling, engine: Engine) -> None:
    """The pending GET is answered with a noop."""
    poll = await hanging_poll(client, engine)
    assert (await client.post("1")).status_code == 200
    assert await poll == ["6"]
    assert engine.recorders[0].reasons == [Reason.TRANSPORT_CLOSE]
    assert (await client.get()).status_code == 400


async def test_the_servers_close_reaches_the_next_poll(client: Polling, engine: Engine) -> None:
    """The next poll gets the last messages, and the one after it the close. Posts are ignored."""
    session = engine.recorders[0].session
    session.send(b"last words")
    session.close(Reason.SERVER_SHUTTING_DOWN)
    assert session.state is State.CLOSING
    assert (await client.post("4too late")).text == "ok"
    assert await client.poll() == ["4last words"]
    assert await client.poll() == ["1"]
    assert (await client.get()).status_code == 400
    assert engine.recorders[0].messages == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
async def test_other_methods_are_refused(client: Polling, address: Address, method: str) -> None:
    answer = await client.http.request(method, address.url(sid=client.sid))
    assert answer.status_code == 405
    await client.post("4x")
    assert await client.poll() == ["4x"]


async def test_requests_of_a_session_that_moved_to_websocket_are_refused(client: Polling, address: Address) -> None:
    async with websocket(address, client.sid) as upgraded:
        await upgraded.send("2probe")
        assert await upgraded.receive() == "3probe"
        await upgraded.send("5", "4one")
        assert await upgraded.receive() == "4one"
        assert (await client.get()).status_code == 400
        assert (await client.post("4lost")).status_code == 400
        await upgraded.send("4two")
        assert await upgraded.receive() == "4two"


async def test_the_upgrade_releases_a_poll_that_hangs(client: Polling, address: Address, engine: Engine) -> None:
    poll = await hanging_poll(client, engine)
    async with websocket(address, client.sid) as probe:
        await probe.send("2probe")
        assert await probe.receive() == "3probe"
        assert await poll == ["6"]


async def test_messages_sent_during_an_upgrade_arrive_once_and_in_order(
    client: Polling, address: Address, engine: Engine
) -> None:
    session = engine.recorders[0].session
    arrived: list[str] = []

    async def stream() -> None:
        for number in range(300):
            session.send(b"%d" % number)
            await asyncio.sleep(0)

    streaming = asyncio.create_task(stream())
    arrived += await client.poll()
    async with websocket(address, client.sid) as upgraded:
        await upgraded.send("2probe")
        poll = asyncio.create_task(client.poll())
        assert await upgraded.receive() == "3probe"
        arrived += await poll
        await upgraded.send("5")
        await streaming
        session.send(b"end")
        while arrived[-1] != "4end":
            message = await upgraded.receive()
            assert isinstance(message, str)
            arrived.append(message)
    arrived = [packet for packet in arrived if packet != "6"]
    assert arrived == [*(f"4{number}" for number in range(300)), "4end"]


class TestCors:
    async def test_an_allowed_page_may_read_the_answers(self, address: Address) -> None:
        """Successes and refusals name its origin, allow credentials, and have `Vary`."""
        async with Polling(address, {"origin": PAGE}) as client:
            unknown = await client.http.get(address.url(sid="unknown"))
            for answer in (await client.post("4x"), await client.get(), unknown):
                assert answer.headers["access-control-allow-origin"] == PAGE
                assert answer.headers["access-control-allow-credentials"] == "true"
                assert "Origin" in answer.headers["vary"]

    async def test_a_preflight_is_answered(self, address: Address) -> None:
        """OPTIONS allows the methods and the requested headers."""
        async with Polling(address, opens=False) as client:
            headers = {"origin": PAGE, "access-control-request-headers": "x-custom"}
            answer = await client.http.options(address.url(), headers=headers)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
        assert answer.headers["access-control-allow-headers"] == "x-custom"

    @pytest.mark.parametrize(("page", "allowed"), [(PAGE, "true"), ("https://evil.net", None)])
    async def test_a_private_network_is_opened_to_allowed_pages(
        self, address: Address, page: str, allowed: str | None
    ) -> None:
        """A browser asks before a page of a public site may reach a server of a private network."""
        headers = {"origin": page, "access-control-request-private-network": "true"}
        async with Polling(address, opens=False) as client:
            answer = await client.http.options(address.url(), headers=headers)
            assert answer.headers.get("access-control-allow-private-network") == allowed
            del headers["access-control-request-private-network"]
            answer = await client.http.options(address.url(), headers=headers)
        assert "access-control-allow-private-network" not in answer.headers

    async def test_any_other_page_is_forbidden_and_reads_nothing(self, address: Address, engine: Engine) -> None:
        """No session is opened for it, and no header lets it read the refusal."""
        async with Polling(address, {"origin": "https://evil.net"}, opens=False) as client:
            answer = await client.http.get(address.url())
            preflight = await client.http.options(address.url())
        assert (answer.status_code, answer.json()["code"]) == (403, 4)
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-origin" not in preflight.headers
        assert engine.recorders == []

    async def test_the_servers_own_page_needs_no_headers(self, address: Address) -> None:
        """CORS does not apply to the same origin."""
        async with Polling(address, {"origin": address.http}) as client:
            assert "access-control-allow-origin" not in (await client.post("4x")).headers


async def test_the_handshake_tells_the_limits(address: Address) -> None:
    async with Polling(address, opens=False) as client:
        handshake = await client.open()
    expected = {"upgrades": ["websocket"], "pingInterval": 25000, "pingTimeout": 60000, "maxPayload": MAX}
    assert {key: handshake[key] for key in expected} == expected


async def test_a_server_that_stops_tells_new_clients(engine: Engine, address: Address) -> None:
    """A handshake during the shutdown gets 503."""
    engine.registry.close()
    async with Polling(address, opens=False) as client:
        answer = await client.http.get(address.url())
    assert answer.status_code == 503
    assert json.loads(answer.text)["message"] == "Server is shutting down"


@pytest.mark.parametrize(
    "query",
    ["sid={0}", "EIO=4&sid={0}", "sid={0}&sid=x", "sid=x&sid={0}", "x=1&sid=x&sid={0}", "sid={0}&sid=", "xsid={0}"],
)
async def test_a_head_belongs_to_the_session_that_its_request_is_for(
    client: Polling, engine: Engine, query: str
) -> None:
    """The last one that it names, as everywhere."""
    engine.recorders[0].session.budget = None
    endpoint = PollingEndpoint(engine.registry)
    target = query.format(client.sid).encode()
    expected = endpoint.budget_of({"path": engine.registry.settings.path, "query_string": target})
    sid = endpoint.sid(b"GET /engine.io/?%b HTTP/1.1\r\nReferer: /?a=b&sid=c\r\n\r\n" % target)
    assert endpoint.budget(sid) is expected
