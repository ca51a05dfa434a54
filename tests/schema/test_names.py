"""Names in the description of an application's events: of types, of namespaces, of messages."""

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import pydantic
import pytest
from jsonschema import Draft7Validator
from tests.support.typescript import compiled, declare

from synkora import Namespace, Socket, SocketServer
from synkora.schema.asyncapi import asyncapi
from synkora.schema.json_schema import schemas_of
from synkora.schema.typescript import typescript

T = TypeVar("T")


class Boards:
    class Task(msgspec.Struct):
        title: str

    @dataclass
    class Note:
        text: str

    class Pet(pydantic.BaseModel):
        name: str

    class Mood(Enum):
        GOOD = "good"


class Jobs:
    class Task(msgspec.Struct):
        seconds: int

    class Note(pydantic.BaseModel):
        line: int

    class Owner(pydantic.BaseModel):
        pet: "Jobs.Pet"

    class Pet(pydantic.BaseModel):
        age: int

    class Mood(Enum):
        BAD = "bad"

    class Queue(msgspec.Struct):
        tasks: list["Jobs.Task"]


@pytest.fixture(scope="module")
def server() -> SocketServer:
    server = SocketServer()
    jobs = server.add(Namespace("/jobs", refusals="ack"))

    @server.on("task")
    def task(socket: Socket, task: Boards.Task, mood: Boards.Mood) -> Boards.Note:
        return Boards.Note("")

    @server.on("pet")
    def pet(socket: Socket, pet: Boards.Pet) -> None: ...

    @jobs.on("task")
    def job(socket: Socket, task: Jobs.Task, mood: Jobs.Mood) -> Jobs.Note:
        return Jobs.Note(line=1)

    @jobs.on("owner")
    def owner(socket: Socket, owner: Jobs.Owner) -> None: ...

    jobs.declare("queued", Jobs.Queue)
    return server


HEAD = """\
import { io, Socket } from "socket.io-client";
import * as events from "./events";
const socket: Socket<events.ServerToClientEvents, events.ClientToServerEvents> = io();
const jobs: Socket<events.JobsServerToClientEvents, events.JobsClientToServerEvents> = io("/jobs");
"""

RIGHT = """\
socket.emit("task", { title: "a" }, "good", (note) => note.text.length);
jobs.emit("task", { seconds: 5 }, "bad", (note) => "line" in note ? note.line + 1 : note.error.message.length);
socket.emit("pet", { name: "Rex" });
jobs.emit("owner", { pet: { age: 5 } });
jobs.on("queued", ({ tasks }) => tasks[0]!.seconds + 1);
"""

#: Lines of a page, and the number of TypeScript's error in each.
MISTAKES = {
    'socket.emit("task", { seconds: 5 }, "good", () => 0);': 2353,
    'jobs.emit("task", { title: "a" }, "bad", () => 0);': 2353,
    'jobs.emit("task", { seconds: 5 }, "good", () => 0);': 2345,
    'socket.emit("pet", { age: 5 });': 2353,
    'jobs.emit("owner", { pet: { name: "Rex" } });': 2353,
    'jobs.on("queued", ({ tasks }) => tasks[0]!.title);': 2339,
}


def test_different_types_of_one_name_are_different_in_typescript(server: SocketServer, tmp_path: Path) -> None:
    """In events of one namespace or of several, of the same kind or of different kinds."""
    declare(tmp_path, "events.d.ts", typescript(server))
    first = (HEAD + RIGHT).count("\n") + 1
    page = HEAD + RIGHT + "\n".join([*MISTAKES, "export {};\n"])
    assert compiled(tmp_path, page) == list(enumerate(MISTAKES.values(), first))


@pytest.mark.parametrize(
    ("name", "valid", "invalid"),
    [
        ("receiveTask", [{"title": "a"}, "good"], [{"seconds": 5}, "bad"]),
        ("receiveTaskAck", [{"text": "a"}], [{"line": 5}]),
        ("receivePet", [{"name": "Rex"}], [{"age": 5}]),
        ("receiveJobsTask", [{"seconds": 5}, "bad"], [{"title": "a"}, "good"]),
        ("receiveJobsTaskAck", [{"line": 5}], [{"text": "a"}]),
        ("receiveJobsOwner", [{"pet": {"age": 5}}], [{"pet": {"name": "Rex"}}]),
        ("sendJobsQueued", [{"tasks": [{"seconds": 5}]}], [{"tasks": [{"title": "a"}]}]),
    ],
)
def test_different_types_of_one_name_are_different_in_asyncapi(
    server: SocketServer, name: str, valid: list[Any], invalid: list[Any]
) -> None:
    components = asyncapi(server)["components"]
    validator = Draft7Validator({"allOf": [components["messages"][name]["payload"]], "components": components})
    assert (validator.is_valid(valid), validator.is_valid(invalid)) == (True, False)


def test_one_type_of_a_name_keeps_its_name() -> None:
    """Also if it is in several events, alone and within others."""
    server = SocketServer()
    server.declare("first", Jobs.Task)
    server.declare("second", Jobs.Queue)
    server.of("/admin").declare("first", Jobs.Task, Jobs.Owner)
    names = {"Task", "Queue", "Owner", "Pet"}
    assert set(asyncapi(server)["components"]["schemas"]) == names
    text = typescript(server)
    assert [text.count(f"\nexport interface {name} {{") for name in names] == [1] * len(names)


class Box(pydantic.BaseModel, Generic[T]):
    value: T


def test_a_generic_model_has_a_name_that_typescript_allows() -> None:
    server = SocketServer()
    server.declare("boxed", Box[int])
    text = typescript(server)
    assert "  boxed: (argument1: Box_int_) => void;\n" in text
    assert "\nexport interface Box_int_ {\n  value: number;\n}\n" in text


class Own:
    """Types with the names of what the declarations themselves have."""

    class MayAck(msgspec.Struct):
        x: int

    class Refused(msgspec.Struct):
        x: int

    class ClientToServerEvents(pydantic.BaseModel):
        x: int

    class AdminServerToClientEvents(msgspec.Struct):
        x: int

    class Record(msgspec.Struct):
        x: dict[str, list[int]]

    class Array(pydantic.BaseModel):
        x: list[int]


def test_a_type_may_have_the_name_of_something_else_in_the_declarations(tmp_path: Path) -> None:
    """As of `Record`, by which TypeScript calls a dictionary."""
    server = SocketServer()
    server.add(Namespace("/", refusals="ack"))
    server.of("/admin")
    for event, shape in vars(Own).items():
        if isinstance(shape, type):
            server.declare(event, shape)

    @server.on("get")
    def get(socket: Socket, key: str) -> None: ...

    declare(tmp_path, "events.d.ts", typescript(server))
    page = """\
import { io, Socket } from "socket.io-client";
import * as events from "./events";
const socket: Socket<events.ServerToClientEvents, events.ClientToServerEvents> = io();
socket.on("MayAck", ({ x }) => x + 1);
socket.on("Refused", ({ x }) => x + 1);
socket.on("ClientToServerEvents", ({ x }) => x + 1);
socket.on("AdminServerToClientEvents", ({ x }) => x + 1);
socket.on("Record", ({ x }) => x["a"]?.[0]!.toFixed());
socket.on("Array", ({ x }) => x[0]!.toFixed());
socket.emit("get", "a", (refused) => refused?.error.message.length);
export {};
"""
    assert compiled(tmp_path, page) == []


def test_a_type_may_have_the_name_of_the_refusal_in_asyncapi() -> None:
    server = SocketServer()
    server.add(Namespace("/", refusals="ack"))
    server.declare("no", Own.Refused)

    @server.on("get")
    def get(socket: Socket) -> None: ...

    components = asyncapi(server)["components"]
    for name, valid in (("sendNo", [{"x": 5}]), ("receiveGetAck", [{"error": {"message": "No", "event": "get"}}])):
        payload = components["messages"][name]["payload"]
        Draft7Validator({"allOf": [payload], "components": components}).validate(valid)
        assert not Draft7Validator({"allOf": [payload], "components": components}).is_valid([{}])


class Page(msgspec.Struct, Generic[T]):
    items: list[T]


def test_types_that_cannot_be_told_apart_are_refused() -> None:
    """By an error that names them: those of one name in one module, such as a generic type of two `Task`."""
    server = SocketServer()
    server.declare("boards", Page[Boards.Task])
    server.declare("jobs", Page[Jobs.Task])
    for describe in (typescript, asyncapi):
        with pytest.raises(TypeError, match=rf"^different types are named Page in {__name__}: give each a name"):
            describe(server)


def test_any_value_is_unknown() -> None:
    """An `object` within a type is one, like `Any`."""
    server = SocketServer()
    server.declare("some", dict[str, object], list[Any])
    assert "  some: (argument1: Record<string, unknown>, argument2: Array<unknown>) => void;\n" in typescript(server)
    (schema,), definitions = schemas_of([list[object]], "{name}")
    assert (Draft7Validator(schema).is_valid([1, "a", None]), definitions) == (True, {})


def test_namespaces_of_one_name_are_numbered() -> None:
    """Such as one with a fixed name and dynamic ones. A name that TypeScript would refuse has a word before it."""
    server = SocketServer()
    server.of("/board").declare("moved", int)
    server.of(re.compile(r"/board-\d+")).declare("moved", str)
    server.of("/2024")
    text = typescript(server)
    for name, shape in (("Board", "number"), ("Board2", "string")):
        assert f"\nexport interface {name}ServerToClientEvents {{\n  moved: (argument1: {shape}) => void;\n" in text, (
            name
        )
    assert "\nexport interface Namespace2024ServerToClientEvents {\n" in text
    assert set(asyncapi(server)["channels"]) == {"Board", "Board2", "Namespace2024"}


def test_events_of_one_name_are_different_messages_in_asyncapi() -> None:
    """Names differ in more than letters and digits, or in where the namespace ends."""
    server = SocketServer()

    @server.on("task:create")
    def create(socket: Socket, title: str) -> int:
        return 1

    @server.on("task-create")
    def create_again(socket: Socket, number: int) -> None: ...

    @server.on("task:create:ack")
    def acknowledge(socket: Socket, done: bool) -> None: ...

    @server.of("/task").on("create")
    def create_there(socket: Socket, place: list[str]) -> None: ...

    document = asyncapi(server)
    found = {
        (channel["x-socket.io"]["namespace"], message["name"]): message["payload"]["items"][0]["type"]
        for channel in document["channels"].values()
        for key in channel["messages"]
        if "items" in (message := document["components"]["messages"][key])["payload"] and "name" in message
    }
    assert found == {
        ("/", "task:create"): "string",
        ("/", "task-create"): "integer",
        ("/", "task:create:ack"): "boolean",
        ("/", "error"): "object",
        ("/task", "create"): "array",
        ("/task", "error"): "object",
    }
    operations = {operation["messages"][0]["$ref"] for operation in document["operations"].values()}
    assert len(operations) == len(document["operations"]) == len(found)
