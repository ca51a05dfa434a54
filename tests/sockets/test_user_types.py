"""Type checks of an application that uses the library."""

import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
import re
from dataclasses import dataclass
from typing import Any

import msgspec
import uvicorn

from synkora import (
    NO_ACK, AckTimeout, ConnectRefused, EmitFailed, Emitter, EventRefused, Namespace, NamespaceHandlers, Socket,
    SocketServer, SyncEmitter, event, serve,
)
from synkora.testing import connect


class Say(msgspec.Struct):
    text: str


@dataclass
class Receipt:
    id: int


server = SocketServer(origins=["https://app.example"], transports=["websocket"])
main = server.of("/")
chat = Namespace("/chat", unknown="ignore", refusals="ack")


@server.use
async def sign_in(socket: Socket, auth: dict[str, Any]) -> None:
    if "token" not in auth:
        raise ConnectRefused("Sign in")


@server.on_connect
async def welcome(socket: Socket, auth: Say) -> None:
    socket.join("lobby")


@server.on("say")
async def say(socket: Socket, message: Say, *rest: int) -> Receipt:
    socket.to("lobby").volatile.emit("said", message)
    socket.compress(False).to("lobby").emit("picture", b"\\xff")
    question: str = await socket.compress(False).call("question", message, timeout=5)
    if not message.text:
        raise EventRefused("Empty")
    return Receipt(1)


server.use(lambda socket: None)
server.on("rest", lambda socket, *args: args)
server.on("any", lambda *args: args)
server.on_unknown(lambda *args: None)


class Middleware:
    def __call__(self, socket: Socket, auth: Say | None = None) -> bool:
        return True

    async def watch(self, socket: Socket, event: str, *args: Any) -> None: ...


server.use(Middleware())
server.on_any(Middleware().watch)
server.on_any_outgoing(print)


@server.on_any_outgoing
def outgoing(event: str, *args: object) -> None: ...


@chat.on("quick", ordered=True)
def quick(socket: Socket) -> object:
    return NO_ACK


@server.on_any
def watch(socket: Socket, event: str, *args: object) -> None: ...


@server.on_disconnecting
def leaving(socket: Socket, reason: str) -> None: ...


@server.on_disconnect
async def gone(socket: Socket, reason: str) -> None: ...


class Board(NamespaceHandlers):
    async def on_draw(self, socket: Socket, x: float) -> None: ...

    @event("board:clear")
    def clear(self, socket: Socket) -> None: ...


async def announce() -> None:
    async with Emitter("redis://127.0.0.1", recovery=True) as emitter:
        await emitter.of("/chat").to("red").in_("blue").except_("a").volatile.emit("news", 1, b"bytes")


def announce_from_a_task() -> None:
    try:
        with SyncEmitter("http://127.0.0.1:3001", token="t", timeout=1) as emitter:
            emitter.to("project_1").once("save-1").emit("task:move", {"taskId": "t1"})
            emitter.in_("socket").disconnect_sockets(close=True)
    except EmitFailed as problem:
        raise SystemExit(str(problem)) from None


async def tick(seconds: float) -> None: ...


async def ask(socket: Socket) -> Any:
    try:
        return await socket.call("question", timeout=5)
    except AckTimeout as timeout:
        return timeout.answers


async def test() -> None:
    async with connect(server, auth={"token": "t"}) as client:
        assert await client.call("say", {"text": "hi"}) == {"id": 1}
    server.start_background_task(tick, 1.5)


server.declare("said", message=Say, answer=int, description="A user has said something.")
server.add(chat)
server.add(Board("/board"))
server.of(re.compile("/room-.*"))
config = uvicorn.Config(server.asgi, ws=server.websocket_protocol)
reveal_type(say)
if __name__ == "__main__":
    serve(server, port=3000)
"""
BAD = """
from synkora import Namespace, Socket, SocketServer

server = SocketServer(transports=["sse"])
Namespace("/", unknown="drop")


@server.on_disconnecting
async def leaving(socket: Socket, reason: str) -> None: ...


def joined(socket: Socket) -> None:
    socket.join(123)
    socket.emit("said", to="lobby")
    server.emit("said", room="lobby")
    server.enter_room(socket, "lobby")


SocketServer(cors_allowed_origins="*")
server.start_background_task(print)


@server.on_disconnect
def gone(socket: Socket) -> None: ...


def three(socket: Socket, auth: dict[str, str], more: int) -> None: ...
def no_socket(text: str) -> None: ...
def no_event(socket: Socket, number: int, *args: object) -> None: ...


server.use(three)
server.use(no_socket)
server.on_connect(three)
server.on("said", no_socket)
server.once("said")(no_socket)
server.on_any(no_event)
server.on_unknown(no_event)
server.on_any_outgoing(three)
"""


def checked(folder: Path, text: str) -> str:
    """The output of `mypy --strict` for a program."""
    program = folder / "app.py"
    program.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={folder}", str(program)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("types")


def test_a_users_application_passes_strict_checks(folder: Path) -> None:
    """Typed handlers keep their own types, and uvicorn accepts `websocket_protocol`."""
    output = checked(folder, GOOD)
    assert "Success: no issues found" in output, output
    assert "def (socket: synkora.sockets.socket.Socket, message: app.Say, *rest: int)" in output


def test_mistakes_are_seen_without_running_the_application(folder: Path) -> None:
    """Unknown names, a wrong kind of function, a room that is not text, names of other libraries, wrong handlers."""
    lines = [line.partition("app.py:")[2].partition(":")[0] for line in checked(folder, BAD).splitlines()[:-1]]
    assert lines == ["4", "5", "8", *map(str, range(13, 17)), "19", "20", "23", *map(str, range(32, 40))]
