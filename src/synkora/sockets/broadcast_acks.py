"""The answers that many clients owe for one event."""

from collections.abc import Callable, Iterable
from typing import Any


class PendingBroadcastAck:
    """A broadcast that wants acks, with one id for all who got it; `asked` is how many did."""

    __slots__ = ("_answered", "_owing", "_questions", "asked", "number")

    def __init__(
        self,
        number: int,
        sids: Iterable[str],
        answered: Callable[[Any], None],
        questions: dict[int, "PendingBroadcastAck"],
    ) -> None:
        self.number = number
        self._owing = set(sids)
        self.asked = len(self._owing)
        self._answered = answered
        self._questions = questions

    def answer(self, sid: str, args: list[Any]) -> bool:
        """Take the ack of a socket, of which the first argument counts; each is heard once, and only if asked."""
        if sid not in self._owing:
            return False
        self._owing.remove(sid)
        if not self._owing:
            self.close()
        self._answered(args[0] if args else None)
        return True

    def is_owed_by(self, sid: str) -> bool:
        """Whether a socket was asked, and has not answered yet."""
        return sid in self._owing

    def close(self) -> None:
        self._questions.pop(self.number, None)


class BroadcastAcks:
    """The questions of one namespace that are open, and the ids of all its events that want an ack.

    One counter serves sockets and broadcasts, so that an ack's id says which it is for.
    """

    __slots__ = ("_next_id", "_questions")

    def __init__(self) -> None:
        self._next_id = 0
        self._questions: dict[int, PendingBroadcastAck] = {}

    def __len__(self) -> int:
        return len(self._questions)

    def next_id(self) -> int:
        """An id that no other event of the namespace has."""
        number = self._next_id
        self._next_id += 1
        return number

    def open(self, number: int, sids: Iterable[str], answered: Callable[[Any], None]) -> PendingBroadcastAck:
        """Await the acks of these sockets; `answered` gets the first argument of each, None where there is none."""
        question = PendingBroadcastAck(number, sids, answered, self._questions)
        if question.asked:
            self._questions[number] = question
        return question

    def is_open(self, number: int, sid: str) -> bool:
        """Whether the ack of a socket is awaited."""
        question = self._questions.get(number)
        return question is not None and question.is_owed_by(sid)

    def resolve(self, number: int, sid: str, args: list[Any]) -> bool:
        """Take an ack; one that nobody waits for changes nothing. Returns whether somebody did."""
        question = self._questions.get(number)
        return question is not None and question.answer(sid, args)
