"""Servers of both kinds and the emitter of Node.js with one interface."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, NamedTuple

from tests.support.clients import WebSocket
from tests.support.node_process import NodeProcess, unpack
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import Address
from websockets.exceptions import ConnectionClosed

from synkora import AckTimeout, RemoteSocket, Socket, SocketServer
from synkora.redis.link import Link


class Target(NamedTuple):
    rooms: tuple[Any, ...] = ()
    except_rooms: tuple[Any, ...] = ()
    namespace: str = "/"
    volatile: bool = False
    compress: bool = True
    local: bool = False


EVERYONE = Target()


class Speaker(ABC):
    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    async def emit(self, target: Target, *event: Any) -> None:
        """Send an event."""

    @abstractmethod
    async def put(self, target: Target, *rooms: str) -> None:
        """Let sockets join rooms."""

    @abstractmethod
    async def take(self, target: Target, room: str) -> None:
        """Let sockets leave a room."""

    @abstractmethod
    async def disconnect(self, target: Target, close: bool) -> None:
        """Disconnect sockets."""

    @abstractmethod
    async def note(self, *args: Any) -> None:
        """Send the other servers the event `note`."""


class Server(Speaker):
    """A server with clients that can join rooms and send events to rooms."""

    address: Address

    @abstractmethod
    async def call(self, target: Target, *event: Any, timeout: float = 5) -> list[Any]:
        """Send an event, and return all acks, or after the timeout those that came."""

    @abstractmethod
    async def fetch(self, target: Target) -> list[dict[str, Any]]:
        """Describe sockets."""

    @abstractmethod
    async def rooms(self) -> set[str]:
        """The rooms of all servers."""

    @abstractmethod
    async def count(self) -> int:
        """The number of servers."""

    @abstractmethod
    async def ask(self, value: Any) -> list[Any]:
        """Send the other servers the event `question`, and return their answers: each its name and the value."""

    @abstractmethod
    async def notes(self) -> list[list[Any]]:
        """The notes from other servers since the last call."""


class NodeSpeaker(Speaker):
    def __init__(self, name: str, node: NodeProcess) -> None:
        super().__init__(name)
        self._node = node

    async def _walk(self, target: Target, *step: Any) -> Any:
        chain: list[Any] = [["of", target.namespace]]
        chain += [["to", room] for room in target.rooms] + [["except", room] for room in target.except_rooms]
        chain += [[flag] for flag in ("volatile", "local") if getattr(target, flag)]
        chain += [] if target.compress else [["compress", False]]
        return await self._node.ask("walk", name=self.name, chain=[*chain, list(step)])

    async def emit(self, target: Target, *event: Any) -> None:
        await self._walk(target, "emit", *event)

    async def put(self, target: Target, *rooms: str) -> None:
        await self._walk(target, "socketsJoin", list(rooms))

    async def take(self, target: Target, room: str) -> None:
        await self._walk(target, "socketsLeave", room)

    async def disconnect(self, target: Target, close: bool) -> None:
        await self._walk(target, "disconnectSockets", close)

    async def note(self, *args: Any) -> None:
        await self._walk(EVERYONE, "serverSideEmit", "note", *args)


class NodeServer(NodeSpeaker, Server):
    """socket.io on Node.js, with its Redis adapter."""

    def __init__(self, name: str, node: NodeProcess, port: int) -> None:
        super().__init__(name, node)
        self.address = Address(port, "/socket.io/")

    async def call(self, target: Target, *event: Any, timeout: float = 5) -> list[Any]:
        chain: list[Any] = [["to", room] for room in target.rooms] + [["except", room] for room in target.except_rooms]
        chain = [["of", target.namespace], *chain, ["timeout", timeout * 1000], ["emitWithAck", *event]]
        answer = await self._node.ask("walk", name=self.name, chain=chain)
        answers: list[Any] = answer["responses"] if isinstance(answer, dict) else answer
        return answers

    async def fetch(self, target: Target) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._walk(target, "fetchSockets")
        return found

    async def rooms(self) -> set[str]:
        return set(await self._node.ask("walk", name=self.name, chain=[["of", "/"], ["adapter"], ["allRooms"]]))

    async def count(self) -> int:
        count: int = await self._node.ask("walk", name=self.name, chain=[["of", "/"], ["adapter"], ["serverCount"]])
        return count

    async def ask(self, value: Any) -> list[Any]:
        answers: list[Any] = await self._walk(EVERYONE, "serverSideEmitWithAck", "question", value)
        return answers

    async def notes(self) -> list[list[Any]]:
        notes: list[list[Any]] = await self._node.ask("heard", name=self.name)
        return notes


class PythonServer(Server):
    def __init__(self, name: str, server: SocketServer, link: Link, patience: float = 5) -> None:
        super().__init__(name)
        self.server = server
        self._patience = patience
        self.link = link
        self._notes: list[list[Any]] = []
        for namespace in (server.of("/"), server.of("/other")):
            namespace.on_connect(self._welcome)
            namespace.on("enter", lambda socket, *rooms: socket.join(*rooms))
            namespace.on("tell", lambda socket, rooms, *event: socket.to(*rooms).emit(*event))
        server.of("/").on_server_side("note", lambda *args: self._notes.append(list(args)))
        server.of("/").on_server_side("question", lambda value: [self.name, value])

    @staticmethod
    def _welcome(socket: Socket, auth: dict[str, Any]) -> None:
        socket.data["name"] = auth.get("name")

    def _to(self, target: Target) -> Any:
        chosen = self.server.of(target.namespace).everyone
        chosen = chosen.to(*target.rooms).except_(*target.except_rooms)
        chosen = chosen.volatile if target.volatile else chosen
        chosen = chosen if target.compress else chosen.compress(False)
        return chosen.local if target.local else chosen

    async def emit(self, target: Target, *event: Any) -> None:
        self._to(target).emit(*unpack(list(event)))

    async def put(self, target: Target, *rooms: str) -> None:
        self._to(target).sockets_join(*rooms)

    async def take(self, target: Target, room: str) -> None:
        self._to(target).sockets_leave(room)

    async def disconnect(self, target: Target, close: bool) -> None:
        self._to(target).disconnect_sockets(close)

    async def note(self, *args: Any) -> None:
        self.server.of("/").server_side_emit("note", *args)

    async def call(self, target: Target, *event: Any, timeout: float = 5) -> list[Any]:
        try:
            answers: list[Any] = await self._to(target).call(*unpack(list(event)), timeout=timeout)
        except AckTimeout as error:
            return error.answers
        return answers

    async def fetch(self, target: Target) -> list[dict[str, Any]]:
        sockets: Sequence[RemoteSocket] = await self._to(target).fetch_sockets()
        return [
            {"id": socket.id, "handshake": socket.handshake, "rooms": sorted(socket.rooms), "data": socket.data}
            for socket in sockets
        ]

    async def rooms(self) -> set[str]:
        return await self.server.of("/").all_rooms()

    async def count(self) -> int:
        return await self.server.of("/")._core.adapter.server_count()

    async def ask(self, value: Any) -> list[Any]:
        return await self.server.of("/").server_side_call("question", value, timeout=self._patience)

    async def notes(self) -> list[list[Any]]:
        notes, self._notes = self._notes, []
        return notes


class Guest:
    def __init__(self, server: Server, socket: WebSocket, id: str, namespace: str = "/") -> None:
        self.name = server.name
        self.server = server
        self.id = id
        self._socket = socket
        self._prefix = "" if namespace == "/" else f"{namespace},"
        self._acks = 0

    async def say(self, *event: Any) -> None:
        self._acks += 1
        await self._socket.send(f"42{self._prefix}{self._acks}{json.dumps(event)}")
        answer = await self._socket.receive()
        assert isinstance(answer, str)
        assert answer.startswith(f"43{self._prefix}{self._acks}["), answer

    async def event(self) -> list[Any]:
        message = await self._socket.receive()
        assert isinstance(message, str)
        found = re.fullmatch(rf"4(?:2|5(\d+)-){self._prefix}(\[.*\])", message)
        assert found is not None, message
        attachments = [await self._socket.receive() for _ in range(int(found[1] or 0))]
        event: list[Any] = json.loads(
            found[2],
            parse_int=float,  # as JavaScript has numbers
            object_hook=lambda it: attachments[int(it["num"])] if it.get("_placeholder") else it,
        )
        return event

    async def acknowledge(self, *args: Any) -> None:
        message = await self._socket.receive()
        assert isinstance(message, str)
        found = re.match(rf"42{self._prefix}(\d+)\[", message)
        assert found is not None, message
        attachments = [arg for arg in args if isinstance(arg, bytes)]
        data = [
            {"_placeholder": True, "num": attachments.index(arg)} if isinstance(arg, bytes) else arg for arg in args
        ]
        head = f"46{len(attachments)}-" if attachments else "43"
        await self._socket.send(f"{head}{self._prefix}{found[1]}{json.dumps(data)}", *attachments)

    async def disconnected(self) -> None:
        assert await self._socket.receive() == "41" + self._prefix

    async def closed(self) -> None:
        while self._socket.connection.close_code is None:
            with suppress(ConnectionClosed):
                await self._socket.receive()


async def redis_and_node(stack: AsyncExitStack) -> tuple[RedisServer, NodeProcess]:
    redis = stack.enter_context(running_redis())
    node = await NodeProcess.start("remote-server.mjs")
    stack.push_async_callback(node.stop)
    return redis, node
