"""The acks that a client has yet to send, bounded per socket."""

import asyncio
from typing import Any, Final

from synkora.sockets.errors import AckTimeout, TooManyCalls

MAX_UNANSWERED: Final = 1000  # of one socket


class Acks:
    """The pending acks of one socket, by id."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: dict[int, asyncio.Future[list[Any]]] = {}

    def open(self, number: int) -> None:
        """Expect the ack `number`, to be awaited with `wait`. Raises `TooManyCalls` above `MAX_UNANSWERED`."""
        if len(self._pending) >= MAX_UNANSWERED:
            raise TooManyCalls(f"the client owes {MAX_UNANSWERED} acks already")
        self._pending[number] = asyncio.get_running_loop().create_future()

    async def wait(self, number: int, timeout: float) -> list[Any]:
        """Return the arguments of the ack `number`.

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
        """Handle an ack; return whether it belongs to a pending event for this socket alone."""
        if not self.is_open(number):
            return False
        self._pending[number].set_result(args)
        return True

    def is_open(self, number: int) -> bool:
        """Whether the ack `number` is pending."""
        future = self._pending.get(number)
        return future is not None and not future.done()

    def cancel(self) -> None:
        """Cancel all pending acks: the client has disconnected."""
        for future in self._pending.values():
            if not future.done():
                future.set_exception(AckTimeout("the client left"))
