"""The answers that a client still owes."""

import asyncio
from typing import Any, Final

from synkora.sockets.errors import AckTimeout, TooManyCalls

MAX_UNANSWERED: Final = 1000  # of one socket


class Acks:
    """Events sent to one socket with the wish for an ack, by their ids."""

    __slots__ = ("_pending", "next_id")

    def __init__(self) -> None:
        self.next_id = 0
        self._pending: dict[int, asyncio.Future[list[Any]]] = {}

    def open(self) -> int:
        """A new id, whose answer is awaited with `wait`. Raises `TooManyCalls` where `MAX_UNANSWERED` are awaited."""
        if len(self._pending) >= MAX_UNANSWERED:
            raise TooManyCalls(f"the client owes {MAX_UNANSWERED} acks already")
        number = self.next_id
        self.next_id += 1
        self._pending[number] = asyncio.get_running_loop().create_future()
        return number

    async def wait(self, number: int, timeout: float) -> list[Any]:
        """The arguments of the answer to `number`.

        Raises `AckTimeout` after `timeout` seconds, or when the client leaves.
        """
        try:
            return await asyncio.wait_for(self._pending[number], timeout)
        except AckTimeout:
            raise
        except TimeoutError:
            raise AckTimeout(f"no ack within {timeout:g} s") from None
        finally:
            self._pending.pop(number, None)

    def resolve(self, number: int, args: list[Any]) -> None:
        """Take an answer; one that nobody waits for changes nothing."""
        future = self._pending.get(number)
        if future is not None and not future.done():
            future.set_result(args)

    def cancel(self) -> None:
        """Tell all who wait that the client has left."""
        for future in self._pending.values():
            if not future.done():
                future.set_exception(AckTimeout("the client left"))
