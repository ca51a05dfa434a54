"""The description of an application's events."""

import inspect
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pydantic
import pytest
from jsonschema import Draft7Validator
from tests.support.typescript import compiled, declare
from tests.support.users import CLIENTS

from synkora import Namespace, Socket, SocketServer
from synkora.schema.asyncapi import asyncapi
from synkora.schema.typescript import typescript

#: AsyncAPI's own schema of such documents, from its package of specifications.
SPECIFICATION = CLIENTS / "node_modules/@asyncapi/specs/schemas/3.0.0.json"


class Say(msgspec.Struct):
    """A message of a user."""

    text: str
    to: list[str] = []


class Receipt(msgspec.Struct):
    id: int


@dataclass
class Point:
    x: float
    y: float | None


class Pet(pydantic.BaseModel):
    name: str


class Person(pydantic.BaseModel):
    name: str
    pets: list[Pet] = []


@pytest.fixture(scope="module")
def server() -> SocketServer:
    server = SocketServer()

    @server.on("say")
    async def say(socket: Socket, message: Say) -> Receipt:
        """Tell all others.

        They get `said`.
        """
        return Receipt(1)

    @server.on("point")
    def point(socket: Socket, point: Point, scale: float = 1) -> None: ...

    @server.on("person:new")
    def person(socket: Socket, person: Person) -> None: ...

    @server.on("sum")
    def add(socket: Socket, *numbers: int) -> int:
        return sum(numbers)

    @server.on("anything")
    def anything(socket: Socket, value: Any, state: Literal["on", "off"], sizes: dict[str, int]) -> None: ...

    @server.on("swap")
    def swap(socket: Socket, number: int) -> tuple[int, tuple[int, str]]:
        return number, (number, "x")

    @server.on("find")
    def find(socket: Socket, text: str) -> int | None: ...

    @server.on("search")
    def search(socket: Socket, text: str, limit: int = 10, *tags: str) -> int:
        return limit

    @server.on("untyped")
    def untyped(socket, value): ...  # type: ignore[no-untyped-def]  # that is the case

    server.declare("said", str, Say, description="A user has said something.")
    server.declare("question", str, answer=Receipt)
    server.declare("scored", str, points=int)
    admin = server.add(Namespace("/admin", refusals="ack"))

    @admin.on("kick")
    def kick(socket: Socket, socket_id: str) -> bool:
        return True

    @admin.on("swap")
    def swap_there(socket: Socket) -> tuple[int, str]:
        return 1, "x"

    @admin.on("close")
    def close(socket: Socket, room: str) -> None: ...

    @admin.on("mute")
    def mute(socket: Socket, socket_id: str, seconds: int = 60) -> None: ...

    boards = server.of(re.compile(r"/board-.*/\d{2}"))

    @boards.on("draw")
    def draw(socket: Socket, point: Point) -> None: ...

    return server


@pytest.fixture(scope="module")
def folder(server: SocketServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a page, with the declarations."""
    folder = tmp_path_factory.mktemp("page")
    declare(folder, "events.d.ts", typescript(server))
    return folder


HEAD = """\
import { io, Socket } from "socket.io-client";
import * as events from "./events";
const socket: Socket<events.ServerToClientEvents, events.ClientToServerEvents> = io();
const admin: Socket<events.AdminServerToClientEvents, events.AdminClientToServerEvents> = io("/admin");
"""


def test_a_page_that_is_right_compiles(folder: Path) -> None:
    page = """\
const receipt: { id: number } = await socket.emitWithAck("say", { text: "hi" });
socket.emit("say", { text: "hi", to: ["a"] }, ({ id }) => id + 1);
socket.emit("point", { x: 1, y: null }, 2);
socket.emit("point", { x: 1, y: null });
socket.emit("point", { x: 1, y: null }, 2, () => 0);
await socket.emitWithAck("point", { x: 1, y: null });
socket.emit("person:new", { name: "Ada", pets: [{ name: "Cat" }] });
socket.emit("sum", 1, 2, 3, (sum) => sum + 1);
const sum: number = await socket.emitWithAck("sum", 1, 2, 3);
const count: number = await socket.emitWithAck("search", "a");
socket.emit("search", "a", 5, "b", "c", (count) => count + 1);
socket.emit("anything", { a: 1 }, "on", { a: 1 });
socket.on("said", (name, message) => name.length + message.text.length);
socket.on("question", (text, answer) => answer({ id: text.length }));
socket.on("error", ({ message, event }) => message + event);
const kicked = await admin.emitWithAck("kick", "id");
if (typeof kicked !== "boolean") kicked.error.message.length;
admin.emit("close", "lobby");
socket.emit("swap", 1, (first: number, second: [number, string]) => first + second[1].length);
socket.emit("find", "a", (answer) => (answer ?? 0) + 1);
const place: number | undefined = await socket.emitWithAck("find", "a");
const untyped: unknown = await socket.emitWithAck("untyped", [1]);
socket.emit("untyped", 1);
socket.on("error", ({ limit }) => limit === 5);
admin.emit("swap", (...answer) => answer.length === 2 ? answer[1].length : answer[0].error.message.length);
const board: Socket<events.BoardServerToClientEvents, events.BoardClientToServerEvents> = io("/board-1/23");
board.emit("draw", { x: 1, y: 2 });
admin.emit("close", "lobby", (refused) => refused?.error.message.length);
admin.emit("mute", "id", 5, (refused) => refused?.error.message.length);
admin.emit("mute", "id");
const refused: events.Refused | undefined = await admin.emitWithAck("close", "lobby");
export {};
"""
    assert compiled(folder, HEAD + page) == []


#: Lines of a page, and the number of TypeScript's error in each.
MISTAKES = {
    'socket.emit("shout");': 2345,
    'socket.emit("say", { text: 5 }, () => 0);': 2322,
    'socket.emit("point", { x: 1 });': 2345,
    'socket.emit("sum", "1");': 2345,
    'socket.emit("sum", (sum: string) => sum);': 2345,
    'socket.emit("point", { x: 1, y: 1 }, "2");': 2345,
    'socket.emit("search", "a", "b", (count) => count);': 2345,
    'socket.emit("search", () => 0);': 2345,
    'admin.emit("mute", "id", 5, (refused) => refused.error);': 18048,
    'admin.emit("close", 5);': 2345,
    'admin.emit("close", "lobby", (refused) => refused.error);': 18048,
    'admin.emit("close", "lobby", (refused) => refused?.eror);': 2551,
    'socket.emit("anything", 1, "in", {});': 2345,
    'socket.emit("person:new", { name: 1 });': 2345,
    'socket.emit("swap", 1, (first: string) => first);': 2345,
    'socket.emit("find", "a", (answer) => answer + 1);': 18048,
    'socket.emit("untyped", 1, (answer) => answer.length);': 18046,
    'socket.on("error", ({ limit }) => limit + 5);': 18046,
    'socket.on("said", (name: number) => name);': 2345,
    'socket.on("question", (text, answer) => answer(5));': 2345,
}


def test_a_mistake_is_an_error(folder: Path) -> None:
    """Each of them, and nothing else: one run of the compiler takes more than a second."""
    first = HEAD.count("\n") + 1
    page = HEAD + "\n".join([*MISTAKES, "export {};\n"])
    assert compiled(folder, page) == list(enumerate(MISTAKES.values(), first))


def test_a_refusal_is_an_answer_where_refusals_are_acks(server: SocketServer) -> None:
    """Of events with and without a result. Otherwise there is no such type."""
    text = typescript(server)
    assert "  close: (...args: MayAck<[room: string], [refused?: Refused]>) => void;\n" in text
    assert "  kick: (socket_id: string, ack: (answer: boolean | Refused) => void) => void;\n" in text
    assert (
        "  swap: (ack: (...answer: [answer1: number, answer2: string] | [refused: Refused]) => void) => void;\n" in text
    )
    assert text.count("Refused") == 6
    assert "Refused" not in typescript(SocketServer())


def test_an_event_with_optional_arguments_has_an_ack(server: SocketServer) -> None:
    """After each number of arguments: TypeScript allows no element after an optional one."""
    text = typescript(server)
    assert "  point: (...args: MayAck<[point: Point]> | MayAck<[point: Point, scale: number]>) => void;\n" in text
    assert "  sum: (...args: [...args: Array<number>, ack: (answer: number) => void]) => void;\n" in text
    assert (
        "  search: (...args: [text: string, ack: (answer: number) => void] |"
        " [text: string, limit: number, ...args: Array<string>, ack: (answer: number) => void]) => void;\n"
    ) in text


def test_arguments_of_emits_may_have_names(server: SocketServer) -> None:
    """In order. Arguments without a name have a number."""
    assert "  scored: (argument1: string, points: number) => void;\n" in typescript(server)


def test_descriptions_are_the_docstrings(server: SocketServer) -> None:
    """The first paragraph of a handler's docstring, or the declared description."""
    text = typescript(server)
    assert "  /** Tell all others. */\n  say: (message: Say, ack: (answer: Receipt) => void) => void;" in text
    assert "  /** A user has said something. */\n" in text
    assert "/** A message of a user. */\nexport interface Say {\n  text: string;\n  to?: Array<string>;\n}" in text


def test_asyncapi_has_every_event_of_every_namespace(server: SocketServer) -> None:
    """As an operation with its message. The payload is the array of arguments, and the ack is the reply."""
    document = asyncapi(server, title="A chat", version="2.0.0")
    assert document["info"] == {"title": "A chat", "version": "2.0.0"}
    assert {name: channel["address"] for name, channel in document["channels"].items()} == {
        "main": "/",
        "Board": None,
        "Admin": "/admin",
    }
    events = ("Anything", "Find", "PersonNew", "Point", "Say", "Search", "Sum", "Swap", "Untyped")
    assert document["operations"].keys() == {
        *(f"receive{name}" for name in events),
        "sendSaid",
        "sendScored",
        "sendQuestion",
        *(f"receiveAdmin{name}" for name in ("Close", "Kick", "Mute", "Swap")),
        "receiveBoardDraw",
        *("sendError", "sendAdminError", "sendBoardError"),
    }
    board = document["channels"]["Board"]
    assert (board["address"], board["x-socket.io"]) == (None, {"namespace": r"/board-.*/\d{2}"})
    say = document["components"]["messages"]["receiveSay"]
    assert (say["name"], say["summary"]) == ("say", "Tell all others.")
    assert say["payload"] == {
        "type": "array",
        "minItems": 1,
        "items": [{"$ref": "#/components/schemas/Say"}],
        "additionalItems": False,
    }
    reply = document["operations"]["receiveSay"]["reply"]["messages"]
    assert reply == [{"$ref": "#/channels/main/messages/receiveSayAck"}]
    asked = document["operations"]["sendQuestion"]["reply"]["messages"]
    assert asked == [{"$ref": "#/channels/main/messages/sendQuestionAck"}]
    assert document["components"]["messages"]["receiveSayAck"]["payload"] == {
        "type": "array",
        "minItems": 1,
        "items": [{"$ref": "#/components/schemas/Receipt"}],
        "additionalItems": False,
    }
    assert document["components"]["messages"]["receiveSum"]["payload"] == {
        "type": "array",
        "minItems": 0,
        "items": {"type": "integer"},
    }


class Place(NamedTuple):
    x: int
    y: str = ""


@pytest.mark.parametrize(
    ("result", "ack"),
    [
        (tuple[int, str], "ack: (answer1: number, answer2: string) => void"),
        (tuple[int, ...], "ack: (...answers: Array<number>) => void"),
        (tuple, "ack: (...answers: Array<unknown>) => void"),
        (Place, "ack: (x: number, y: string) => void"),
        (tuple[int, str] | None, "ack: (...answer: [answer1: number, answer2: string] | []) => void"),
        (tuple[int, str] | int, "ack: (...answer: [answer1: number, answer2: string] | [answer: number]) => void"),
        (int | None, "ack: (answer?: number) => void"),
        (Annotated[int | str | None, "why"], "ack: (answer?: number | string) => void"),
        (Person | Pet, "ack: (answer: Person | Pet) => void"),
        (list[int], "ack: (answer: Array<number>) => void"),
    ],
    ids=str,
)
def test_an_ack_has_the_arguments_that_the_result_becomes(result: Any, ack: str) -> None:
    """A tuple is several arguments, and None is no argument."""
    server = SocketServer()

    def answer(socket: Socket) -> Any: ...

    answer.__annotations__["return"] = result
    server.on("x", answer)
    assert f"  x: ({ack}) => void;\n" in typescript(server)


@pytest.mark.parametrize("result", [inspect.Signature.empty, Any, object])
def test_an_ack_without_a_type_may_have_any_argument(result: Any) -> None:
    server = SocketServer()

    def answer(socket): ...  # type: ignore[no-untyped-def]  # that is the case

    if result is not inspect.Signature.empty:
        answer.__annotations__["return"] = result
    server.on("x", answer)
    assert "  x: (...args: MayAck<[], [answer?: unknown]>) => void;\n" in typescript(server)


def test_an_ack_is_the_first_result_of_several_handlers() -> None:
    """It has no argument only if each of the handlers may return None."""
    server = SocketServer()

    @server.on("some")
    def first(socket: Socket) -> int | None: ...

    @server.on("some")
    def second(socket: Socket) -> str:
        return ""

    @server.on("none")
    def third(socket: Socket) -> int | None: ...

    @server.on("none")
    def fourth(socket: Socket) -> None: ...

    text = typescript(server)
    assert "  some: (ack: (answer: number | string) => void) => void;\n" in text
    assert "  none: (ack: (answer?: number) => void) => void;\n" in text


@pytest.mark.parametrize(
    ("name", "valid", "invalid"),
    [
        ("receiveSwapAck", [[1, [2, "x"]]], [[1], [1, 2], [1, [2]], [1, [2, "x"], 3]]),
        ("receiveFindAck", [[1], []], [[None], ["x"]]),
        ("receiveUntypedAck", [[], [{}], [1, 2]], [5]),
        ("receiveAdminSwapAck", [[1, "x"], [{"error": {"message": "No", "event": "swap"}}]], [[1], [{}]]),
        ("receiveAdminCloseAck", [[], [{"error": {"message": "No", "event": "close"}}]], [[1]]),
        ("sendError", [[{"message": "No", "event": "say", "limit": 5}]], [[], [{"message": "No"}]]),
        ("sendQuestionAck", [[{"id": 1}]], [[], [1]]),
    ],
)
def test_payloads_of_asyncapi_are_schemas_of_draft_7(
    server: SocketServer, name: str, valid: list[Any], invalid: list[Any]
) -> None:
    """Also those of acks and refusals: `prefixItems` has no meaning in draft 7, which AsyncAPI uses."""
    document = asyncapi(server)
    schema = {"allOf": [document["components"]["messages"][name]["payload"]], "components": document["components"]}
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    assert [validator.is_valid(each) for each in valid] == [True] * len(valid)
    assert [validator.is_valid(each) for each in invalid] == [False] * len(invalid)


def test_it_is_valid_by_asyncapis_own_schema(server: SocketServer) -> None:
    Draft7Validator(json.loads(SPECIFICATION.read_text(encoding="utf-8"))).validate(asyncapi(server))


def test_every_reference_leads_somewhere(server: SocketServer) -> None:
    document = asyncapi(server)
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))
    assert references
    for reference in references:
        node: Any = document
        for key in reference.split("/"):
            node = node[key]


def test_it_is_a_command(tmp_path: Path) -> None:
    """It imports the named module, and prints the description."""
    (tmp_path / "chat.py").write_text(
        "from synkora import Socket, SocketServer\n"
        "server = SocketServer()\n"
        '@server.on("say")\n'
        "def say(socket: Socket, text: str) -> None: ...\n"
    )
    command = [sys.executable, "-m", "synkora.schema"]

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    done = run("typescript", "chat:server")
    assert "  say: (...args: MayAck<[text: string]>) => void;\n" in done.stdout, done.stderr
    assert json.loads(run("asyncapi", "chat", "--title", "A chat").stdout)["info"]["title"] == "A chat"
    assert done.stderr == ""
    for server, words in (
        ("chat:Socket", "chat:Socket is no SocketServer"),
        ("chat:nope", "the module chat has no nope"),
        ("nope:server", "there is no module nope in this folder or on sys.path"),
        ("chat.nope:server", "there is no module chat.nope in this folder or on sys.path"),
        ("chat.py:server", "'chat.py' is no module: the server in chat.py is chat:server"),
        ("./chat", "'./chat' is no module: the server in chat.py is chat:server"),
    ):
        done = run("typescript", server)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert words in done.stderr
    (tmp_path / "broken.py").write_text("import nowhere\n")
    assert "No module named 'nowhere'" in run("typescript", "broken").stderr


PROGRAM = """
import subprocess
import rooms
from synkora import Socket, SocketServer

server = SocketServer()
main = server.of("/")
main.declare("said", str)


@server.on("say")
async def say(socket: Socket, text: str) -> None:
    socket.to("lobby").emit("said", text)
    socket.emit("error", text)
    server.emit("moved", text)
    await socket.call(
        "question", text
    )
    socket.emit(text)
    subprocess.call("true")
    rooms.tell(server)
"""


def test_an_event_that_is_emitted_and_not_declared_is_named(tmp_path: Path) -> None:
    """With its place, in all modules of the program. The output is still complete."""
    (tmp_path / "chat.py").write_text(PROGRAM)
    (tmp_path / "rooms.py").write_text("def tell(server):\n    server.emit('told')\n    server.emit('told')\n")
    done = subprocess.run(
        [sys.executable, "-m", "synkora.schema", "typescript", "chat:server"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr.splitlines() == [
        "chat.py:15: 'moved' is emitted and not declared: namespace.declare('moved', …)",
        "chat.py:16: 'question' is emitted and not declared: namespace.declare('question', …)",
        "rooms.py:2: 'told' is emitted and not declared: namespace.declare('told', …)",
        "rooms.py:3: 'told' is emitted and not declared: namespace.declare('told', …)",
    ]
    assert done.returncode == 0
    assert "said: (argument1: string) => void;" in done.stdout
