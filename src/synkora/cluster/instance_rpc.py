"""What our instances ask each other, beside what adapters do: servers of Node.js neither see nor hear of it."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import Annotated, Final

import msgspec
import structlog

from synkora.engine.logs import fault
from synkora.engine.tasks import Tasks
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder, Raw, encode
from synkora.redis.link import Link

PREFIX: Final = "synkora:"
MOST_AT_ONCE: Final = 16  # questions of one topic that are being answered; further ones are not
MOST_BYTES: Final = 8_000_000  # of an answer: what is more is not sent

log = structlog.get_logger(__name__)

#: What answers a question of some topic: both are JSON.
Answerer = Callable[[bytes], Awaitable[bytes]]


_NO_BODY: Final = Raw()  # a Raw cannot be one of several types

#: An instance's id: it is part of a channel's name here, and of what pages ask for.
InstanceId = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9]{1,40}\Z")]
Within = Annotated[float, msgspec.Meta(ge=0, le=60)]


class InstanceRequest(msgspec.Struct):
    """A question of the instance `asker`, which waits for its answer `within` so many seconds."""

    id: str
    asker: InstanceId
    topic: str
    body: Raw
    within: Within


class InstanceReply(msgspec.Struct, omit_defaults=True):
    """The answer of `instance` to the question with that `id`; one without a body says that there is none to come."""

    id: str
    instance: InstanceId
    body: Raw = _NO_BODY


_QUESTION: Final[Decoder[InstanceRequest]] = Decoder(InstanceRequest)
_ANSWER: Final[Decoder[InstanceReply]] = Decoder(InstanceReply)


class _Asked:
    """A question that waits for some instances."""

    def __init__(self, expected: Collection[str]) -> None:
        self.answers: dict[str, bytes] = {}
        self.complete = asyncio.Event()
        self._missing = set(expected)

    def take(self, answer: InstanceReply) -> None:
        """Take an answer; one of an instance that nobody knew yet is welcome too."""
        body = bytes(answer.body)
        if body:
            self.answers[answer.instance] = body
        self._missing.discard(answer.instance)
        if not self._missing:
            self.complete.set()


class InstanceRpc:
    """Asks other instances, and answers what they ask.

    `known` says which other instances there are. Nothing is kept in Redis, and nothing is sent that nobody asked for.
    """

    def __init__(self, link: Link, known: Callable[[], Collection[str]], *, prefix: str = PREFIX) -> None:
        self.unreadable = 0
        self._link = link
        self._known = known
        self._questions = f"{prefix}questions".encode()
        self._answers = f"{prefix}answers".encode()
        self._channels = {
            self._questions: self._take_question,
            _channel(self._questions, link.uid): self._take_question,
            _channel(self._answers, link.uid): self._take_answer,
        }
        self._answerers: dict[str, Answerer] = {}
        self._asked: dict[str, _Asked] = {}
        self._tasks = Tasks()
        self._answering: Counter[str] = Counter()  # by topic
        for channel, take in self._channels.items():
            link.subscribe(channel, take)

    @property
    def others(self) -> Collection[str]:
        """The ids of the other instances that are known."""
        return self._known()

    def on(self, topic: str, answerer: Answerer) -> None:
        """Have `answerer` answer the questions of a topic. What it raises is logged, and then there is no answer."""
        self._answerers[topic] = answerer

    async def ask(self, topic: str, question: bytes, *, to: str | None = None, within: float) -> dict[str, bytes]:
        """The answers of all other instances, or of the one that is named, by their ids.

        It ends when all that are known have answered, or after `within` seconds with what there is by then. There is
        nothing to wait for where Redis is away.
        """
        expected = self._known() if to is None else (to,)
        if not expected or not self._link.is_up:
            return {}
        channel = self._questions if to is None else _channel(self._questions, to)
        number = secrets.token_urlsafe(9)
        self._asked[number] = asked = _Asked(expected)
        self._link.publish(channel, encode(InstanceRequest(number, self._link.uid, topic, Raw(question), within)))
        try:
            async with asyncio.timeout(within):
                await asked.complete.wait()
        except TimeoutError:
            pass
        finally:
            del self._asked[number]
        return asked.answers

    def close(self) -> None:
        """Hear and answer nothing any more."""
        for channel in self._channels:
            self._link.unsubscribe(channel)
        self._tasks.cancel()

    def _take_question(self, message: bytes) -> None:
        try:
            question = _QUESTION.decode(message)
        except (ProtocolError, InvalidPayload):
            self.unreadable += 1
            return
        if question.asker == self._link.uid:
            return
        answerer = self._answerers.get(question.topic)
        if answerer is None or self._answering[question.topic] >= MOST_AT_ONCE:
            self._reply(question, None)
            return
        self._answering[question.topic] += 1
        self._tasks.start(self._answer(question, answerer))

    async def _answer(self, question: InstanceRequest, answerer: Answerer) -> None:
        body = None
        try:
            async with asyncio.timeout(question.within):
                body = await answerer(bytes(question.body))
            if len(body) > MOST_BYTES:
                log.warning("answer_too_large", eventName=question.topic, size=len(body))
                body = None
        except TimeoutError:
            pass  # nobody waits for it any more
        except (ProtocolError, InvalidPayload):  # of another version of the server
            self.unreadable += 1
        except Exception as error:  # noqa: BLE001  # it is logged
            log.error("question_failed", eventName=question.topic, **fault(error))
        finally:
            self._answering[question.topic] -= 1
        self._reply(question, body)

    def _reply(self, question: InstanceRequest, body: bytes | None) -> None:
        answer = InstanceReply(question.id, self._link.uid)
        if body is not None:
            answer.body = Raw(body)
        self._link.publish(_channel(self._answers, question.asker), encode(answer))

    def _take_answer(self, message: bytes) -> None:
        try:
            answer = _ANSWER.decode(message)
        except (ProtocolError, InvalidPayload):
            self.unreadable += 1
            return
        if answer.instance == self._link.uid:  # nobody else may speak for this one
            self.unreadable += 1
            return
        asked = self._asked.get(answer.id)
        if asked is not None:
            asked.take(answer)


def _channel(channel: bytes, instance: str) -> bytes:
    return channel + b":" + instance.encode()
