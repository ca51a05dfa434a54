"""Events between servers."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from tests.support.logs import capture_logs

from synkora import SocketServer
from synkora.sockets.server_side_events import ServerSide, server_event


class Run:
    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.side = ServerSide(self._spawn)
        self.answers: list[object] = []

    def _spawn(self, coroutine: Coroutine[Any, Any, None], *, lasting: bool = False) -> None:
        self.tasks.append(asyncio.ensure_future(coroutine))

    async def receive(self, *event: Any) -> list[object]:
        self.side.receive(event, self.answers.append)
        await asyncio.gather(*self.tasks)
        return self.answers


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def failures() -> Iterator[list[Any]]:
    with capture_logs() as logged:
        yield logged


async def test_a_handlers_value_is_the_answer(run: Run) -> None:
    """Of a function and of a coroutine function. None is an answer as well."""

    async def later(*args: object) -> object:
        await asyncio.sleep(0)
        return ["later", *args]

    run.side.on("now", lambda *args: ["now", *args])
    run.side.on("later", later)
    run.side.on("nothing", lambda: None)
    await run.receive("now", 1, "a")
    await run.receive("later", 2)
    assert await run.receive("nothing") == [["now", 1, "a"], ["later", 2], None]


async def test_an_answer_is_given_only_where_one_is_asked_for(run: Run) -> None:
    heard: list[object] = []
    run.side.on("note", heard.append)
    run.side.receive(["note", 1], None)
    assert heard == [1]


@pytest.mark.parametrize("event", [[], ["unknown"], [None], [["a"]], [{}], [1], "note"])
async def test_an_event_without_a_handler_has_no_answer(run: Run, event: Any) -> None:
    run.side.on("note", lambda *args: "heard")
    assert await run.receive(*event) == []


async def test_a_handler_that_fails_is_logged(run: Run, failures: list[Any]) -> None:
    """By its event, immediately or later, without an answer. Wrong arguments are such a failure."""

    async def cancelled() -> None:
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        never.cancel()
        await never

    async def broken() -> None:
        raise ValueError("broken")

    run.side.on("two", lambda one, two: "well")
    run.side.on("broken", broken)
    run.side.on("cancelled", cancelled)
    for event in ("two", "broken", "cancelled"):
        assert await run.receive(event) == []
    assert [entry["eventName"] for entry in failures] == ["two", "broken", "cancelled"]
    assert all(entry["event"] == "handler_failed" for entry in failures)


async def test_an_answer_that_cannot_be_sent_is_logged(run: Run, failures: list[Any]) -> None:
    def refuse(value: object) -> None:
        raise TypeError("JSON cannot hold it")

    run.side.on("odd", object)
    run.side.receive(["odd"], refuse)
    assert [entry["eventName"] for entry in failures] == ["odd"]


def test_an_event_has_one_handler() -> None:
    """As an argument or by a decorator, which returns the function."""
    main = SocketServer().of("/")

    @main.on_server_side("a")
    def first() -> str:
        return "first"

    assert first() == "first"
    with pytest.raises(ValueError, match="'a' has a handler already"):
        main.on_server_side("a", first)
    assert main.on_server_side("b", first) is first


@pytest.mark.parametrize("name", ["connect", "connection", "new_namespace"])
def test_reserved_names_are_not_events_between_servers(name: str) -> None:
    main = SocketServer().of("/")
    with pytest.raises(ValueError, match=r"word of Socket\.IO's own"):
        main.server_side_emit(name)
    with pytest.raises(ValueError, match=r"word of Socket\.IO's own"):
        main.on_server_side(name, lambda: None)


@pytest.mark.parametrize("value", [b"bytes", [{"a": b""}], object()])
def test_values_that_servers_cannot_send_are_refused(value: object) -> None:
    """Bytes, and values that JSON cannot encode, with or without another server."""
    with pytest.raises(TypeError):
        SocketServer().of("/").server_side_emit("x", value)


def test_an_event_between_servers_is_a_json_array() -> None:
    assert server_event("x", [1, {"a": None}]) == b'["x",1,{"a":null}]'
