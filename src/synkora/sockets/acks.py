"""The answers that a client still owes."""

import asyncio
from typing import Any, Final

from synkora.sockets.errors import AckTimeout, TooManyCalls

MAX_UNANSWERED: Final = 1000  # of one socket


class Acks:
    """Events sent to one socket with the wish for an ack, by their ids."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: dict[int, asyncio.Future[list[Any]]] = {}

    def open(self, number: int) -> None:
        """Expect an answer to `number`, to be awaited with `wait`. Raises `TooManyCalls` past `MAX_UNANSWERED`."""
        if len(self._pending) >= MAX_UNANSWERED:
            raise TooManyCalls(f"the client owes {MAX_UNANSWERED} acks already")
        self._pending[number] = asyncio.get_running_loop().create_future()

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

    def resolve(self, number: int, args: list[Any]) -> bool:
        """Take an answer; return whether this socket alone was asked for it, and has not answered yet."""
        if not self.is_open(number):
            return False
        self._pending[number].set_result(args)
        return True

    def is_open(self, number: int) -> bool:
        """Whether an answer to `number` is awaited."""
        future = self._pending.get(number)
        return future is not None and not future.done()

    def cancel(self) -> None:
        """Tell all who wait that the client has left."""
        for future in self._pending.values():
            if not future.done():
                future.set_exception(AckTimeout("the client left"))
