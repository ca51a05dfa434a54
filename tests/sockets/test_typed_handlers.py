"""Handlers whose annotations describe the arguments."""

import functools
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pydantic
import pytest
from tests.support.logs import capture_logs

from synkora import NO_ACK, EventRefused, Socket, SocketServer
from synkora.testing import Client, ConnectError, connect


class Say(msgspec.Struct):
    text: str
    to: list[str] = []


class Receipt(msgspec.Struct):
    id: int
    text: str


@dataclass
class Point:
    x: float
    y: float


class Options(TypedDict, total=False):
    bold: bool


class Person(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=0)
    friends: list["Person"] = []


class Upload(msgspec.Struct):
    name: str
    content: bytes


async def refusal_of(client: Client, event: str, *args: object) -> str:
    """The message of the `error` event that answers an event."""
    client.emit(event, *args)
    _, error = await client.receive("error")
    assert error["event"] == event
    return str(error["message"])


@pytest.fixture
def server() -> SocketServer:
    server = SocketServer()

    @server.on("say")
    async def say(socket: Socket, message: Say) -> Receipt:
        return Receipt(1, message.text)

    @server.on("point")
    def point(socket: Socket, point: Point, scale: float = 2) -> Point:
        return Point(point.x * scale, point.y * scale)

    @server.on("options")
    def options(socket: Socket, options: Options) -> Options:
        return options

    @server.on("person")
    def person(socket: Socket, person: Person | None) -> Person | None:
        return person and Person(name=person.name.upper(), age=person.age)

    @server.on("upload")
    def upload(socket: Socket, upload: Upload, note: bytes = b"") -> list[object]:
        return [upload.name, upload.content, note]

    @server.on("sum")
    def add(socket: Socket, first: int, *rest: int) -> int:
        return first + sum(rest)

    @server.on("plain")
    def plain(socket: Socket, a, b=2, *, c=3):  # type: ignore[no-untyped-def]  # as users write handlers
        return [a, b, c]

    @server.on("status")
    def status(socket: Socket, value: Literal["on", "off"], size: Annotated[int, msgspec.Meta(le=10)]) -> str:
        return value

    return server


@pytest.mark.parametrize(
    ("event", "args", "ack"),
    [
        ("say", [{"text": "hi"}], {"id": 1, "text": "hi"}),
        ("say", [{"text": "hi", "to": ["a"], "more": 1}], {"id": 1, "text": "hi"}),
        ("point", [{"x": 1, "y": 2.5}], {"x": 2, "y": 5}),
        ("point", [{"x": 1, "y": 2.5}, 3], {"x": 3, "y": 7.5}),
        ("options", [{"bold": True}], {"bold": True}),
        ("person", [{"name": "ada", "age": 36}], {"name": "ADA", "age": 36, "friends": []}),
        ("person", [None], None),
        ("upload", [{"name": "a", "content": b"\x00"}, b"\x01"], ["a", b"\x00", b"\x01"]),
        ("sum", [1], 1),
        ("sum", [1, 2, 3], 6),
        ("plain", [1], [1, 2, 3]),
        ("plain", [{"b": b"\x00"}, None], [{"b": b"\x00"}, None, 3]),
        ("status", ["on", 10], "on"),
    ],
)
async def test_arguments_have_their_types_and_results_are_json(
    server: SocketServer, event: str, args: list[object], ack: object
) -> None:
    async with connect(server) as client:
        assert await client.call(event, *args) == ack


@pytest.mark.parametrize(
    ("event", "args", "words"),
    [
        ("say", [], "say takes 1 argument, got 0"),
        ("say", [{"text": "a"}, 2], "say takes 1 argument, got 2"),
        ("say", [{"text": 5}], "message.text: Expected str, got int"),
        ("say", [{"text": "a", "to": ["b", None]}], "message.to[1]: Expected str, got null"),
        ("say", [{}], "message: Object missing required field text"),
        ("say", ["text"], "message: Expected object, got str"),
        ("point", [], "point takes 1 to 2 arguments, got 0"),
        ("point", [{"x": 1, "y": 1}, "2"], "scale: Expected float, got str"),
        ("person", [{"name": 1, "age": 3}], "person.name: Input should be a valid string"),
        (
            "person",
            [{"name": "a", "age": 3, "friends": [{"name": "b", "age": -1}]}],
            "person.friends.0.age: Input should be greater than or equal to 0",
        ),
        ("person", ["a"], "person: Input should be a valid dictionary or instance of Person"),
        ("upload", [{"name": "a", "content": "aGk="}], "upload.content: Expected bytes, got str"),
        ("upload", [{"name": "a", "content": b"1"}, "aGk="], "note: Expected bytes, got str"),
        ("sum", [], "sum takes at least 1 argument, got 0"),
        ("sum", [1, 2, "3"], "args[1]: Expected int, got str"),
        ("sum", ["1"], "first: Expected int, got str"),
        ("plain", [], "plain takes 1 to 2 arguments, got 0"),
        ("plain", [1, 2, 3], "plain takes 1 to 2 arguments, got 3"),
        ("status", ["in", 1], "value: Invalid enum value 'in'"),
        ("status", ["on", 11], "size: Expected int <= 10"),
    ],
)
async def test_other_arguments_are_refused_with_their_place(
    server: SocketServer, event: str, args: list[object], words: str
) -> None:
    """Nothing is logged, and the connection stays open."""
    with capture_logs() as logs:
        async with connect(server) as client:
            assert await refusal_of(client, event, *args) == words
            assert await client.call("sum", 1) == 1
    assert logs == []


async def test_handlers_may_be_methods_partials_and_objects() -> None:
    """Their own parameters count. `self` and bound parameters do not."""

    class Handlers:
        def method(self, socket: Socket, number: int) -> int:
            return number

        def __call__(self, socket: Socket, number: int) -> int:
            return -number

    def two(factor: int, socket: Socket, number: int) -> int:
        return factor * number

    server = SocketServer()
    server.on("method", Handlers().method)
    server.on("object", Handlers())
    server.on("partial", functools.partial(two, 10))
    async with connect(server) as client:
        assert [await client.call(event, 2) for event in ("method", "object", "partial")] == [2, -2, 20]
        assert await refusal_of(client, "object", "2") == "number: Expected int, got str"


class Credentials(msgspec.Struct):
    token: str


async def test_the_payload_of_connect_has_a_type_too() -> None:
    """An invalid one gets a `connect_error`."""
    server, seen = SocketServer(), []

    @server.on_connect
    def welcome(socket: Socket, auth: Credentials) -> None:
        seen.append(auth.token)

    async with connect(server, auth={"token": "t"}):
        assert seen == ["t"]
    with pytest.raises(ConnectError, match=r"auth\.token: Expected str, got int"):
        async with connect(server, auth={"token": 1}):
            pass
    with pytest.raises(ConnectError, match="auth: Object missing required field token"):
        async with connect(server):
            pass


async def test_a_payload_of_connect_with_a_default_may_be_missing() -> None:
    server, seen = SocketServer(), []

    @server.on_connect
    def welcome(socket: Socket, auth: Credentials | None = None) -> None:
        seen.append(auth)

    async with connect(server):
        assert seen == [None]


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (lambda: None, "the handler of 'x' takes 1 argument at least, the socket first"),
        ("not a function", "the handler of 'x' is not a function"),
    ],
)
def test_a_value_that_cannot_be_called_is_refused_immediately(handler: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        SocketServer().on("x", handler)


def test_types_that_cannot_be_checked_are_refused_at_once() -> None:
    """At the registration, with event and parameter."""

    class Odd:
        pass

    class Part(msgspec.Struct):
        odd: Odd | None

    @dataclass
    class Choice:
        fine: int
        either: list[Say | Receipt]

    class Whole(msgspec.Struct):
        fine: int
        parts: dict[str, list[Part]]

    def inside(socket: Socket, message: Whole) -> None: ...
    def choice(socket: Socket, message: dict[str, Choice]) -> None: ...
    def odd(socket: Socket, value: list[Odd]) -> None: ...
    def unknown(socket: Socket, value: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821  # the mistake
    def keyword(socket: Socket, *, value: int) -> None: ...

    server = SocketServer()
    with pytest.raises(TypeError, match=r"the handler of 'x': message\.parts\.odd cannot be a Odd"):
        server.on("x", inside)
    with pytest.raises(TypeError, match=r"the handler of 'x': message\.either cannot be checked: .* Struct types"):
        server.on("x", choice)
    with pytest.raises(TypeError, match="the handler of 'x': value cannot be a Odd"):
        server.on("x", odd)
    with pytest.raises(TypeError, match="the annotation of value, Nowhere, is not defined"):
        server.on("x", unknown)
    with pytest.raises(TypeError, match="value needs a default"):
        server.on("x", keyword)


async def test_a_refusal_may_be_the_ack() -> None:
    """With `refusals="ack"`, if the client asks for an ack. Otherwise it is an `error`. Failures are answered alike."""
    from synkora import Namespace

    server = SocketServer()
    main = server.add(Namespace("/", refusals="ack"))

    @main.on("say")
    def say(socket: Socket, text: str) -> str:
        raise EventRefused("Too loud", limit=3)

    @main.on("fail")
    async def fail(socket: Socket) -> None:
        raise RuntimeError("secret")

    with capture_logs():
        async with connect(server) as client:
            assert await client.call("say", "x") == {"error": {"message": "Too loud", "event": "say", "limit": 3}}
            wrong = {"message": "text: Expected str, got int", "event": "say"}
            assert await client.call("say", 1) == {"error": wrong}
            assert await client.call("fail") == {"error": {"message": "Internal server error", "event": "fail"}}
            unknown = {"message": "Unknown event: what", "event": "what"}
            assert await client.call("what") == {"error": unknown}
            assert client.received() == []
            assert await refusal_of(client, "say", "x") == "Too loud"


async def test_a_handler_may_give_no_ack() -> None:
    """`NO_ACK` is for events that are acknowledged elsewhere, or never."""
    server = SocketServer()
    server.on("quiet", lambda socket: NO_ACK)
    server.on("echo", lambda socket, value: value)
    async with connect(server) as client:
        with pytest.raises(TimeoutError):
            await client.call("quiet", timeout=0.01)
        assert await client.call("echo", 1) == 1


def test_values_that_json_cannot_represent_raise_in_emit() -> None:
    with pytest.raises(TypeError, match="an object of type object cannot be sent"):
        SocketServer().emit("x", object())


async def test_models_are_emitted_as_they_are_returned(server: SocketServer) -> None:
    async with connect(server) as client:
        server.emit("all", Say("hi"), Point(1, 2), Person(name="a", age=1))
        assert await client.receive("all") == [
            "all",
            {"text": "hi", "to": []},
            {"x": 1, "y": 2},
            {"name": "a", "age": 1, "friends": []},
        ]
