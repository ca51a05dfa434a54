"""A script in Node.js that executes commands as lines of JSON, and answers with lines of JSON."""

import asyncio
import base64
import itertools
import json
from collections.abc import Callable
from typing import Any

from tests.support.processes import PATIENCE
from tests.support.users import CLIENTS

Message = dict[str, Any]
_LONGEST_LINE = 16_000_000


class NodeProcess:
    """Runs a script of tests/clients. Its unrequested lines go to the listener of their name."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._listeners: dict[str, Callable[[Message], None]] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, script: str, *arguments: str) -> "NodeProcess":
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(
                "node", script, *arguments, cwd=CLIENTS, stdin=pipe, stdout=pipe, limit=_LONGEST_LINE
            )
        )

    def listen(self, listener: Callable[[Message], None]) -> str:
        """Return a new name, and register its receiver."""
        name = f"client {next(self._ids)}"
        self._listeners[name] = listener
        return name

    def order(self, do: str, **details: Any) -> None:
        """Send a command without an answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(pack({"do": do, **details})).encode() + b"\n")

    async def ask(self, do: str, **details: Any) -> Any:
        """Send a command, and return its answer. Fails with the script's error message."""
        assert not self._reading.done(), "the script has ended"
        number = next(self._ids)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        self.order(do, id=number, **details)
        # The scripts give up on each of their steps sooner, and say on which.
        return await asyncio.wait_for(answer, 5 * PATIENCE)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message: Message = unpack(json.loads(line))
            if "id" not in message:
                if listener := self._listeners.get(message["name"]):
                    listener(message)
            elif not (answer := self._answers.pop(message["id"])).done():
                if "error" in message:
                    answer.set_exception(AssertionError(message["error"]))
                else:
                    answer.set_result(message["answer"])
        for answer in self._answers.values():
            answer.set_exception(AssertionError("the script has ended"))

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), PATIENCE)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading


def pack(value: Any) -> Any:
    """Encode binary data as the scripts do."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: pack(item) for key, item in value.items()}
    return [pack(item) for item in value] if isinstance(value, list | tuple) else value


def unpack(value: Any) -> Any:
    """Decode binary data from the scripts."""
    if isinstance(value, dict):
        if "$bytes" in value:
            return base64.b64decode(value["$bytes"])
        return {key: unpack(item) for key, item in value.items()}
    return [unpack(item) for item in value] if isinstance(value, list) else value
