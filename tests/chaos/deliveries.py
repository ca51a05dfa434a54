"""The checks of deliveries: once, in order, and complete."""

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.faults import Faults
from tests.chaos.record import Book, Connection, Message, Visit

#: Seconds within which a message is on its way, on a busy machine.
MARGIN = 3.0


def misdelivered(book: Book) -> Iterator[str]:
    """Messages that came twice, or before an earlier one of the same connection."""
    for visit in book.visits:
        last: dict[Connection, Message] = {}
        seen: set[str] = set()
        for at, message in visit.received:
            before = last.get(message.sender)
            if message.id in seen:
                yield f"{visit} got {message.id!r} twice, again at {at:.2f}"
            elif before is not None and before.number > message.number:
                yield f"{visit} got {message.id!r} after {before.id!r} at {at:.2f}"
            seen.add(message.id)
            last[message.sender] = message


def lost(book: Book, faults: Faults) -> Iterator[str]:
    """Messages that did not reach a connected member, without a fault on the way."""
    received = {visit: {message.id for _, message in visit.received} for visit in book.visits}
    for message, visit in _pairs(book):
        if message.id not in received[visit] and _ought_to_come(message, visit, faults):
            yield f"{visit} did not get {message.id!r} of {message.sender}, sent at {message.at:.2f}"


def owed(book: Book, faults: Faults) -> tuple[int, int]:
    """The least number of deliveries, within instances and between instances."""
    due = [pair for pair in _pairs(book) if _ought_to_come(*pair, faults)]
    local = sum(message.sender.instance is visit.connection.instance for message, visit in due)
    return local, len(due) - local


def _pairs(book: Book) -> Iterator[tuple[Message, Visit]]:
    visits: dict[str, list[Visit]] = defaultdict(list)
    for visit in book.visits:
        visits[visit.project].append(visit)
    for message in book.messages.values():
        for visit in visits[message.project]:
            yield message, visit


def _ought_to_come(message: Message, visit: Visit, faults: Faults) -> bool:
    sender, receiver = message.sender, visit.connection
    if sender is receiver or not visit.confirmed < message.at < visit.until:
        return False
    places = {sender.instance.place, receiver.instance.place}
    deadline = faults.settled(places, message.at, MARGIN)
    if min(sender.until, visit.until) < deadline:
        return False
    if sender.instance is receiver.instance:
        return True
    # After a timeout the list is sent without Redis' answer. Messages come after the answer.
    subscribed = faults.settled(places, visit.asked, MARGIN)
    return subscribed < message.at and not faults.may_lose(places, message.at, deadline)
