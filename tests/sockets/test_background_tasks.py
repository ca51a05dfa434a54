"""Tasks that a server starts and ends."""

import asyncio
import functools
import inspect
from collections.abc import Coroutine
from typing import Any

import pytest
from tests.support.logs import capture_logs

from synkora import SocketServer
from synkora.testing import connect


class TestBackgroundTasks:
    async def test_they_run_until_the_server_closes(self, server: SocketServer) -> None:
        """They are cancelled then, and have ended when `close` returns."""
        server.of("/")
        steps: list[str] = []

        async def tick(name: str) -> None:
            try:
                while True:
                    server.emit("tick", name)
                    await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                steps.append("cancelled")
                raise

        async with connect(server) as client:
            task = server.start_background_task(tick, "a")
            assert await client.receive() == ["tick", "a"]
        await server.close(1)
        assert task.cancelled()
        assert steps == ["cancelled"]

    async def test_a_failure_is_logged_with_the_functions_name(self, server: SocketServer) -> None:
        async def fail() -> None:
            raise RuntimeError("of the test")

        with capture_logs() as logs:
            await server.start_background_task(fail)
        (entry,) = logs
        assert entry["event"] == "background_task_failed"
        assert entry["task"].endswith("fail")
        assert entry["exception"].endswith("RuntimeError: of the test")

    async def test_a_coroutine_is_refused(self, server: SocketServer) -> None:
        """It is closed, so that Python does not warn that it was never awaited."""

        async def tick(seconds: int) -> None: ...

        coroutine = tick(5)
        with pytest.raises(TypeError, match=r"calls the function: start_background_task\(tick, …\)"):
            server.start_background_task(coroutine)  # type: ignore[arg-type]  # that is the mistake
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED

    async def test_a_function_without_a_coroutine_is_refused(self, server: SocketServer) -> None:
        def tick() -> None: ...

        with pytest.raises(TypeError, match=r"takes an async def, and .*tick is a def"):
            server.start_background_task(tick)  # type: ignore[arg-type]  # that is the mistake
        with pytest.raises(TypeError, match="the first argument of start_background_task is an async def, not 5"):
            server.start_background_task(5)  # type: ignore[arg-type]  # that is the mistake

    async def test_a_def_is_refused_before_it_runs(self, server: SocketServer) -> None:
        """It could block the event loop. One that is marked as returning a coroutine is called."""
        calls: list[str] = []

        def tick(name: str):  # type: ignore[no-untyped-def]  # that is the case
            calls.append(name)

        async def answer() -> int:
            return 5

        def later() -> Coroutine[Any, Any, int]:
            return answer()

        for function in (tick, functools.partial(tick), print):
            with pytest.raises(TypeError, match=r"takes an async def, and .* is a def"):
                server.start_background_task(function, "a")  # type: ignore[arg-type]  # that is the mistake
        assert calls == []
        assert await server.start_background_task(later) == 5

    def test_it_needs_a_running_loop(self, server: SocketServer) -> None:
        """The error says where to start a task with the server."""

        async def tick() -> None: ...

        with pytest.raises(RuntimeError, match=r"needs a running event loop: .* serve\(server, around=…\)"):
            server.start_background_task(tick)

    async def test_wrong_arguments_are_seen_at_once(self, server: SocketServer) -> None:
        async def tick(seconds: int) -> None: ...

        with pytest.raises(TypeError, match="seconds"):
            server.start_background_task(tick)

    async def test_a_function_may_make_the_coroutine(self, server: SocketServer) -> None:
        async def add(a: int, b: int) -> int:
            return a + b

        assert await server.start_background_task(lambda a: add(a, 2), 1) == 3

    async def test_a_result_is_the_tasks(self, server: SocketServer) -> None:
        async def add(a: int, *, b: int) -> int:
            return a + b

        assert await server.start_background_task(add, 1, b=2) == 3
