"""The contract of every adapter."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contracts.crowds import NAMES, Cluster, Crowd, crowd_in

from synkora import AckTimeout
from synkora.sockets import packets


class AdapterContract:
    """To be inherited by a test class with a fixture `cluster`: one or more running servers with this adapter."""

    @pytest.fixture
    async def crowd(self, cluster: Cluster) -> AsyncIterator[Crowd]:
        async with crowd_in(cluster) as crowd:
            yield crowd

    # Broadcasts

    async def test_a_broadcast_reaches_rooms_on_all_servers(self, crowd: Crowd) -> None:
        """From any server, all members get it once, and no other socket does."""
        for server in crowd.cluster.servers:
            assert await crowd.who_gets(["x", 1], server, server.to("red")) == ["alice", "bob"]
            assert await crowd.who_gets(["x", 2], server, server.to("red", "blue")) == ["alice", "bob", "carol"]
            assert await crowd.who_gets(["x", 3], server, server.to("nowhere")) == []
            assert await crowd.who_gets(["x", 4], server, server) == NAMES

    async def test_exceptions_hold_on_all_servers(self, crowd: Crowd) -> None:
        for server in crowd.cluster.servers:
            assert await crowd.who_gets(["x"], server, server.except_("red")) == ["carol", "dave"]
            assert await crowd.who_gets(["x"], server, server.to("red").except_("blue")) == ["alice"]
            assert await crowd.who_gets(["x"], server, server.to("red", "blue").except_(crowd.sockets["alice"].id)) == [
                "bob",
                "carol",
            ]

    async def test_a_socket_is_reached_by_its_id_from_all_servers(self, crowd: Crowd) -> None:
        for server in crowd.cluster.servers:
            for name in NAMES:
                assert await crowd.who_gets(["x"], server, server.to(crowd.sockets[name].id)) == [name]

    async def test_a_socket_sends_to_the_others(self, crowd: Crowd) -> None:
        for name in NAMES:
            socket, server = crowd.sockets[name], crowd.server(name)
            assert await crowd.who_gets(["x"], server, socket.to("red")) == [
                other for other in ("alice", "bob") if other != name
            ]
            assert await crowd.who_gets(["x"], server, socket.broadcast) == [other for other in NAMES if other != name]

    async def test_a_relay_reaches_members_and_no_socket_by_its_own_id(self, crowd: Crowd) -> None:
        """A room may be named like a socket's id: the members of the room get the message, the socket does not."""
        dave = crowd.sockets["dave"].id
        for name in ("alice", "bob"):
            crowd.sockets[name].join(dave)
        await crowd.cluster.settle()
        for server in crowd.cluster.servers:
            relay = server.of("/")._core.adapter.relay
            relay(packets.event("/", "x", (1,)), dave)
            assert await crowd.who_gets(["x", 1], server) == ["alice", "bob"]
            relay(packets.event("/", "x", (2,), volatile=True), dave)
            assert await crowd.who_gets(["x", 2], server) == ["alice", "bob"]
            relay(packets.event("/", "x", (3,)), dave, local=True)
            beside = crowd.beside(server)
            assert await crowd.who_gets(["x", 3], server) == [name for name in ("alice", "bob") if name in beside]
        alice = crowd.sockets["alice"].id
        for server in crowd.cluster.servers:
            server.of("/")._core.adapter.relay(packets.event("/", "x", ()), dave, alice)
            assert await crowd.who_gets(["x"], server) == ["bob"]

    async def test_local_broadcasts_stay_on_their_server(self, crowd: Crowd) -> None:
        """`local` applies to everyone, to rooms, and to a socket's broadcasts."""
        for server in crowd.cluster.servers:
            assert await crowd.who_gets(["x"], server, server.local) == crowd.beside(server)
            server.to("red").local.emit("x")
            here = [name for name in ("alice", "bob") if name in crowd.beside(server)]
            assert await crowd.who_gets(["x"], server) == here
        crowd.sockets["alice"].broadcast.local.emit("x")
        beside = [name for name in crowd.beside(crowd.server("alice")) if name != "alice"]
        assert await crowd.who_gets(["x"], crowd.server("alice")) == beside

    async def test_events_arrive_unchanged(self, crowd: Crowd) -> None:
        """Every kind of JSON value, with any text."""
        values: list[object] = [
            None,
            True,
            -1,
            2**53,
            1.5,
            "",
            'Ñandú "q" \\ \u2028',
            [],
            {},
            {"a": [{"b": None}], "": 0},
        ]
        for server in crowd.cluster.servers:
            assert await crowd.who_gets(["x", *values], server, server.volatile.to("red")) == ["alice", "bob"]

    async def test_binary_data_arrives_as_it_was(self, crowd: Crowd) -> None:
        """With its attachments in their order, and the same bytes for all."""
        for server in crowd.cluster.servers:
            server.to("red").emit("file", {"name": "a", "parts": [b"\x00\xff", b""]}, b"\x01" * 300)
            for name in ("alice", "bob"):
                head, *parts = await crowd.clients[name].receive_many(4)
                assert isinstance(head, str)
                assert head.startswith('453-["file",')
                assert parts == [b"\x00\xff", b"", b"\x01" * 300]

    async def test_one_servers_messages_keep_their_order(self, crowd: Crowd) -> None:
        """To rooms, to sockets and to everyone, in one turn and in several. Each message arrives."""
        server = crowd.cluster.servers[0]
        bob = crowd.sockets["bob"].id
        for number in range(30):
            (server.to("red"), server.to("red", "blue"), server.to(bob), server)[number % 4].emit("n", number)
            if number % 7 == 0:
                await asyncio.sleep(0)
        server.emit("end")
        for name, getting in (("alice", {0, 1, 3}), ("bob", {0, 1, 2, 3}), ("carol", {1, 3}), ("dave", {3})):
            for number in range(30):
                if number % 4 in getting:
                    assert await crowd.clients[name].event() == ["n", number]
            assert await crowd.clients[name].event() == ["end"]

    async def test_namespaces_are_apart(self, cluster: Cluster) -> None:
        for server in cluster.servers:
            server.of("/other").on_connect(lambda socket, auth: socket.join("red"))
        async with crowd_in(cluster) as crowd:
            dave = crowd.clients["dave"]
            await dave.connect("/other")
            await cluster.settle()
            for server in cluster.servers:
                server.of("/other").to("red").emit("x")
                assert await dave.receive() == '42/other,["x"]'
                assert await crowd.who_gets(["y"], server, server.to("red")) == ["alice", "bob"]

    async def test_a_socket_that_has_left_gets_nothing(self, crowd: Crowd) -> None:
        bob = crowd.sockets["bob"]
        bob.leave("red")
        await crowd.cluster.settle()
        for server in crowd.cluster.servers:
            assert await crowd.who_gets(["x"], server, server.to("red")) == ["alice"]
        bob.join("red")
        bob.leave("red")
        bob.join("red")
        await crowd.cluster.settle()
        for server in crowd.cluster.servers:
            assert await crowd.who_gets(["x"], server, server.to("red")) == ["alice", "bob"]

    # Broadcasts with acks

    async def test_a_call_gathers_the_acks_of_all(self, crowd: Crowd) -> None:
        """The first argument of each ack or None, in order of arrival."""
        for server in crowd.cluster.servers:
            asking = asyncio.create_task(server.to("red", "blue").call("ask", {"why": 1}, timeout=5))
            await crowd.answer("carol", "ask", "c", "more")
            await crowd.cluster.settle()
            await crowd.answer("bob", "ask")
            await crowd.cluster.settle()
            await crowd.answer("alice", "ask", {"a": [1]})
            assert await asking == ["c", None, {"a": [1]}]

    async def test_a_call_without_recipients_returns_an_empty_list(self, crowd: Crowd) -> None:
        for server in crowd.cluster.servers:
            assert await server.to("nowhere").call("ask", timeout=5) == []

    async def test_a_call_ends_with_the_answers_that_came(self, crowd: Crowd) -> None:
        """One client does not answer and one leaves: `AckTimeout` has the third's ack, and late acks have no effect."""
        server = crowd.cluster.servers[0]
        asking = asyncio.create_task(server.to("red", "blue").call("ask", timeout=1))
        await crowd.answer("bob", "ask", "b")
        await crowd.clients.pop("carol").connection.close()
        with pytest.raises(AckTimeout) as failed:
            await asking
        assert failed.value.answers == ["b"]
        assert len(server.of("/")._core.adapter.acks) == 0
        await crowd.answer("alice", "ask", "late")
        await crowd.cluster.settle()
        assert await crowd.who_gets(["x"], server) == []

    async def test_local_calls_ask_no_other_server(self, crowd: Crowd) -> None:
        """Only clients of the server get the event."""
        for server in crowd.cluster.servers:
            beside = crowd.beside(server)
            asking = asyncio.create_task(server.local.call("ask", timeout=5))
            for name in beside:
                await crowd.answer(name, "ask", name)
                await crowd.cluster.settle()
            assert await asking == beside
            assert await crowd.who_gets(["x"], server) == []

    # Sockets

    async def test_sockets_are_fetched_from_all_servers(self, crowd: Crowd) -> None:
        for server in crowd.cluster.servers:
            for chosen, expected in (
                (server.everyone, NAMES),
                (server.to("red"), ["alice", "bob"]),
                (server.to("red", "blue").except_(crowd.sockets["bob"].id), ["alice", "carol"]),
                (server.to("nowhere"), []),
                (server.local, crowd.beside(server)),
            ):
                sockets = await chosen.fetch_sockets()
                assert len(sockets) == len(expected)
                assert crowd.names({socket.id for socket in sockets}) == expected

    async def test_a_fetched_socket_describes_itself(self, crowd: Crowd) -> None:
        """Its id, rooms, data and handshake, the same from each server."""
        bob = crowd.sockets["bob"]
        bob.data.update(name="Bob", tags=["a", 1])
        for server in crowd.cluster.servers:
            (found,) = await server.to(bob.id).fetch_sockets()
            assert found.id == bob.id
            assert found.rooms == {bob.id, "red", "blue"}
            assert found.data == {"name": "Bob", "tags": ["a", 1]}
            for part in ("headers", "query", "address", "auth", "secure"):
                assert getattr(found.handshake, part) == getattr(bob.handshake, part)
            assert found.handshake.issued == pytest.approx(bob.handshake.issued, abs=0.001)

    async def test_a_fetched_socket_is_reached(self, crowd: Crowd) -> None:
        """It gets events, acknowledges, joins, leaves, and is disconnected, on any server."""
        carol = crowd.sockets["carol"]
        for server in crowd.cluster.servers:
            (found,) = await server.to(carol.id).fetch_sockets()
            found.emit("x", "only you")
            assert await crowd.who_gets(["x", "only you"], server) == ["carol"]
            asking = asyncio.create_task(found.call("ask", timeout=5))
            await crowd.answer("carol", "ask", "c")
            assert await asking == "c"
            found.join("green", "yellow")
            found.leave("blue")
            await crowd.cluster.settle()
            assert carol.rooms == {carol.id, "green", "yellow"}
            carol.leave("green")
            carol.join("blue")
            await crowd.cluster.settle()
        found.disconnect()
        assert await crowd.clients["carol"].receive() == "41"
        with pytest.raises(AckTimeout, match="the client left"):
            await found.call("ask", timeout=5)

    async def test_sockets_are_put_into_rooms_from_all_servers(self, crowd: Crowd) -> None:
        """Only the selected sockets join and leave, and events for the rooms reach them."""
        for server in crowd.cluster.servers:
            server.to("red", "blue").except_(crowd.sockets["alice"].id).sockets_join("green", "yellow")
            await crowd.cluster.settle()
            assert crowd.members("green") == crowd.members("yellow") == ["bob", "carol"]
            assert await crowd.who_gets(["x"], server, server.to("green")) == ["bob", "carol"]
            server.to("red").sockets_leave("green", "never joined")
            await crowd.cluster.settle()
            assert (crowd.members("green"), crowd.members("yellow")) == (["carol"], ["bob", "carol"])
            server.sockets_leave("green", "yellow")
            await crowd.cluster.settle()
            assert crowd.members("green") == crowd.members("yellow") == []
            server.local.sockets_join("green")
            await crowd.cluster.settle()
            assert crowd.members("green") == crowd.beside(server)
            server.local.sockets_leave("green")

    async def test_sockets_are_disconnected_from_all_servers(self, crowd: Crowd) -> None:
        """The selected sockets leave the namespace, or with `close` lose their connection."""
        server = crowd.cluster.servers[-1]
        server.to("red").except_("blue").disconnect_sockets()
        assert await crowd.clients.pop("alice").receive() == "41"
        server.to(crowd.sockets["bob"].id).disconnect_sockets(close=True)
        await crowd.clients.pop("bob").closed()
        await crowd.cluster.settle()
        assert await crowd.who_gets(["x"], server) == []
        assert crowd.names({socket.id for socket in await server.fetch_sockets()}) == ["carol", "dave"]
        beside = [name for name in crowd.beside(server) if name in crowd.clients]
        server.local.disconnect_sockets()
        for name in beside:
            assert await crowd.clients.pop(name).receive() == "41"
        await crowd.cluster.settle()
        assert await crowd.who_gets(["x"], server) == []

    async def test_rooms_of_all_servers_are_listed(self, crowd: Crowd) -> None:
        """While they have members. Each socket's own room is included."""
        own = {socket.id for socket in crowd.sockets.values()}
        for namespace in crowd.cluster.namespaces:
            assert await namespace.all_rooms() == {"red", "blue"} | own
        crowd.sockets["bob"].leave("blue")
        crowd.sockets["carol"].leave("blue")
        await crowd.cluster.settle()
        for namespace in crowd.cluster.namespaces:
            assert await namespace.all_rooms() == {"red"} | own

    # Servers

    async def test_servers_are_counted(self, cluster: Cluster) -> None:
        for namespace in cluster.namespaces:
            assert await namespace._core.adapter.server_count() == len(cluster.servers)

    async def test_the_other_servers_get_an_event(self, cluster: Cluster) -> None:
        heard: list[tuple[int, tuple[object, ...]]] = []
        for number, namespace in enumerate(cluster.namespaces):
            namespace.on_server_side("hello", lambda *args, number=number: heard.append((number, args)))
        await cluster.settle()
        for number, namespace in enumerate(cluster.namespaces):
            namespace.server_side_emit("hello", number, {"a": ["Ñ", None]})
            namespace.server_side_emit("nobody knows", number)
            await cluster.settle()
            others = [other for other in range(len(cluster.servers)) if other != number]
            assert sorted(other for other, _ in heard) == others
            assert all(args == (number, {"a": ["Ñ", None]}) for _, args in heard)
            heard.clear()

    async def test_the_other_servers_answer(self, cluster: Cluster) -> None:
        """With the result of each handler, at once or later."""

        async def later(number: int, value: int) -> list[int]:
            await asyncio.sleep(0)
            return [number, value]

        for number, namespace in enumerate(cluster.namespaces):
            namespace.on_server_side("now", lambda number=number: None if number == 0 else number)
            namespace.on_server_side("later", lambda value, number=number: later(number, value))
        await cluster.settle()
        for number, namespace in enumerate(cluster.namespaces):
            others = [other for other in range(len(cluster.servers)) if other != number]
            answers = await namespace.server_side_call("now", timeout=5)
            assert sorted(answer or 0 for answer in answers) == others
            answers = await namespace.server_side_call("later", 7, timeout=5)
            assert sorted(answers) == [[other, 7] for other in others]

    async def test_a_server_that_does_not_answer_is_waited_for(self, cluster: Cluster) -> None:
        """For `timeout` seconds, if it has no handler or the handler fails. A single server does not wait."""
        first, *others = cluster.namespaces

        def fail() -> None:
            raise ValueError("broken")

        for number, other in enumerate(others):
            if number:
                other.on_server_side("half", lambda: "well")
            other.on_server_side("fail", fail)
        await cluster.settle()
        if not others:
            assert await first.server_side_call("half") == await first.server_side_call("fail") == []
            return
        with pytest.raises(AckTimeout) as failed:
            await first.server_side_call("half", timeout=1)
        assert failed.value.answers == ["well"] * (len(others) - 1)
        with pytest.raises(AckTimeout) as failed:
            await first.server_side_call("fail", timeout=0.2)
        assert failed.value.answers == []
