"""The acks of many clients for one event."""

from collections.abc import Callable, Iterable
from typing import Any


class PendingBroadcastAck:
    """A broadcast with acks, with one id for all recipients; `asked` is their number."""

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
        """Handle the ack of a socket: the first argument of the first ack counts, if the socket is a recipient."""
        if sid not in self._owing:
            return False
        self._owing.remove(sid)
        if not self._owing:
            self.close()
        self._answered(args[0] if args else None)
        return True

    def is_owed_by(self, sid: str) -> bool:
        """Whether the ack of a socket is pending."""
        return sid in self._owing

    def close(self) -> None:
        self._questions.pop(self.number, None)


class BroadcastAcks:
    """The pending broadcasts with acks of one namespace, and the ids of all its events with acks.

    Sockets and broadcasts share one counter, so that an ack's id identifies its event.
    """

    __slots__ = ("_next_id", "_questions")

    def __init__(self) -> None:
        self._next_id = 0
        self._questions: dict[int, PendingBroadcastAck] = {}

    def __len__(self) -> int:
        return len(self._questions)

    def next_id(self) -> int:
        """Return an id that is unique in the namespace."""
        number = self._next_id
        self._next_id += 1
        return number

    def open(self, number: int, sids: Iterable[str], answered: Callable[[Any], None]) -> PendingBroadcastAck:
        """Expect the acks of these sockets; `answered` gets the first argument of each, or None."""
        question = PendingBroadcastAck(number, sids, answered, self._questions)
        if question.asked:
            self._questions[number] = question
        return question

    def is_open(self, number: int, sid: str) -> bool:
        """Whether the ack of a socket is pending."""
        question = self._questions.get(number)
        return question is not None and question.is_owed_by(sid)

    def resolve(self, number: int, sid: str, args: list[Any]) -> bool:
        """Handle an ack; return whether it was pending. An unexpected ack changes nothing."""
        question = self._questions.get(number)
        return question is not None and question.answer(sid, args)
