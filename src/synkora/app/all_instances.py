"""Requests to all instances, including this one: of the console, Admin UI, HTTP API, moderation and block sharing."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import msgspec
import structlog

from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder, encode

if TYPE_CHECKING:
    from synkora.cluster.instance_rpc import InstanceRpc

#: Timeout for answers of other instances, in seconds.
WITHIN: Final = 1.0

Q = TypeVar("Q")
A = TypeVar("A")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Topic(Generic[Q, A]):
    """A kind of request, by a name that all instances know."""

    name: str
    question: Any
    answer: Any
    keeps_halves: bool = False  # as a `Decoder` does
    questions: Decoder[Q] = field(init=False, repr=False)
    answers: Decoder[A] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "questions", Decoder(self.question))
        object.__setattr__(self, "answers", Decoder(self.answer, keeps_halves=self.keeps_halves))


class Nothing(msgspec.Struct):
    """A request without parameters."""


class InstanceReplies(NamedTuple, Generic[A]):
    """The answers by instance id, and the ids of instances without a valid answer."""

    by_instance: dict[str, A]
    unanswered: list[str]


class AllInstances:
    """Asks this instance by a plain call, and the other instances by `rpc`."""

    def __init__(self, id: str, rpc: "InstanceRpc | None") -> None:
        self.id = id
        self._rpc = rpc
        self._answers: dict[str, Callable[[Any], Awaitable[Any]]] = {}

    @property
    def others(self) -> list[str]:
        """The ids of the other live instances."""
        return [] if self._rpc is None else sorted(self._rpc.others)

    def answer(self, topic: Topic[Q, A], answer: Callable[[Q], Awaitable[A]]) -> None:
        """Answer requests of a topic, from any instance, with `answer`."""
        self._answers[topic.name] = answer

        async def answer_in_json(question: bytes) -> bytes:
            return encode(await answer(topic.questions.decode(question)))

        if self._rpc is not None:
            self._rpc.on(topic.name, answer_in_json)

    async def ask(self, topic: Topic[Q, A], question: Q, to: str = "") -> InstanceReplies[A]:
        """Return the answers of all instances, or of the instance with the id `to`."""
        asked = {to} if to else {self.id, *self.others}
        answers = await self._ask(topic, question, to)
        return InstanceReplies(answers, sorted(asked - answers.keys()))

    async def _ask(self, topic: Topic[Q, A], question: Q, to: str) -> dict[str, A]:
        if to == self.id or self._rpc is None:
            return {} if to not in ("", self.id) else {self.id: await self._answers[topic.name](question)}
        elsewhere = self._rpc.ask(topic.name, encode(question), to=to or None, within=WITHIN)
        if to:
            return _decoded(topic, await elsewhere)
        answers, own = await asyncio.gather(elsewhere, self._answers[topic.name](question))
        return {self.id: own, **_decoded(topic, answers)}


def _decoded(topic: Topic[Q, A], answers: dict[str, bytes]) -> dict[str, A]:
    decoded: dict[str, A] = {}
    for instance, answer in answers.items():
        try:
            decoded[instance] = topic.answers.decode(answer)
        except (ProtocolError, InvalidPayload) as error:  # of another version of the server
            log.warning("console_answer_unreadable", instance=instance, problem=str(error))
    return decoded
