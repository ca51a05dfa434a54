"""Requests between instances, apart from the adapters'. Node.js servers do not get these messages."""

import asyncio
import secrets
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection
from typing import Annotated, Final, TypeVar

import msgspec
import structlog

from synkora.engine.logs import fault
from synkora.engine.tasks import Tasks
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder, Raw, encode
from synkora.redis.link import Link

PREFIX: Final = "synkora:"
MOST_AT_ONCE: Final = 16  # requests of one topic at a time; further ones wait
MOST_WAITING: Final = 200  # requests of one topic that wait; further ones get no answer
_LARGE: Final = 10_000  # bytes of a request that does not wait
MOST_BYTES: Final = 8_000_000  # of an answer; a larger one is not sent

log = structlog.get_logger(__name__)

M = TypeVar("M")

#: Answers a request of a topic; request and answer are JSON.
Answerer = Callable[[bytes], Awaitable[bytes]]


_NO_BODY: Final = Raw()  # a Raw cannot be part of a union

#: An instance's id. It is part of channel names and of the console's requests.
InstanceId = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9]{1,40}\Z")]
Within = Annotated[float, msgspec.Meta(ge=0, le=60)]


class InstanceRequest(msgspec.Struct):
    """A request of the instance `asker`, which waits `within` seconds for the answer."""

    id: str
    asker: InstanceId
    topic: str
    body: Raw
    within: Within


class InstanceReply(msgspec.Struct, omit_defaults=True):
    """The answer of `instance` to the request `id`. Without a body: the instance will not answer."""

    id: str
    instance: InstanceId
    body: Raw = _NO_BODY


_QUESTION: Final[Decoder[InstanceRequest]] = Decoder(InstanceRequest)
_ANSWER: Final[Decoder[InstanceReply]] = Decoder(InstanceReply)


class _Asked:
    """A request that waits for the answers of some instances."""

    def __init__(self, expected: Collection[str]) -> None:
        self.answers: dict[str, bytes] = {}
        self.complete = asyncio.Event()
        self._missing = set(expected)

    def take(self, answer: InstanceReply) -> None:
        """Store an answer, also of an instance that was unknown before."""
        body = bytes(answer.body)
        if body:
            self.answers[answer.instance] = body
        self._missing.discard(answer.instance)
        if not self._missing:
            self.complete.set()


class InstanceRpc:
    """Sends requests to other instances, and answers theirs.

    `known` returns the other instances. Nothing is stored in Redis, and nothing is sent without a request.
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
        self._unanswered: Counter[str] = Counter()  # requests by topic: what is being answered, and what waits
        self._slots = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(MOST_AT_ONCE))  # by topic
        for channel, take in self._channels.items():
            link.subscribe(channel, take)

    @property
    def others(self) -> Collection[str]:
        """The ids of the known other instances."""
        return self._known()

    def on(self, topic: str, answerer: Answerer) -> None:
        """Answer the requests of a topic with `answerer`. Its exceptions are logged, and there is no answer then."""
        self._answerers[topic] = answerer

    async def ask(self, topic: str, question: bytes, *, to: str | None = None, within: float) -> dict[str, bytes]:
        """Return the answers of all other instances, or of the instance `to`, by id.

        Returns when all known instances have answered, or after `within` seconds with the received answers; at once
        without Redis.
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
        """Stop receiving requests and answers."""
        for channel in self._channels:
            self._link.unsubscribe(channel)
        self._tasks.cancel()

    def _take_question(self, message: bytes) -> None:
        question = self._read(_QUESTION, message)
        if question is None or question.asker == self._link.uid:
            return
        answerer = self._answerers.get(question.topic)
        most = MOST_AT_ONCE if len(message) > _LARGE else MOST_AT_ONCE + MOST_WAITING
        if answerer is None or self._unanswered[question.topic] >= most:
            self._reply(question, None)
            return
        self._unanswered[question.topic] += 1
        self._tasks.start(self._answer(question, answerer))

    async def _answer(self, question: InstanceRequest, answerer: Answerer) -> None:
        body = None
        try:
            async with asyncio.timeout(question.within), self._slots[question.topic]:
                body = await answerer(bytes(question.body))
            if len(body) > MOST_BYTES:
                log.warning("answer_too_large", eventName=question.topic, size=len(body))
                body = None
        except TimeoutError:
            pass  # the asker no longer waits
        except (ProtocolError, InvalidPayload):  # of another version of the server
            self.unreadable += 1
        except Exception as error:  # noqa: BLE001  # it is logged
            log.error("question_failed", eventName=question.topic, **fault(error))
        finally:
            self._unanswered[question.topic] -= 1
        self._reply(question, body)

    def _reply(self, question: InstanceRequest, body: bytes | None) -> None:
        answer = InstanceReply(question.id, self._link.uid)
        if body is not None:
            answer.body = Raw(body)
        self._link.publish(_channel(self._answers, question.asker), encode(answer))

    def _take_answer(self, message: bytes) -> None:
        answer = self._read(_ANSWER, message)
        if answer is None:
            return
        if answer.instance == self._link.uid:  # no other instance may use this one's id
            self.unreadable += 1
            return
        asked = self._asked.get(answer.id)
        if asked is not None:
            asked.take(answer)

    def _read(self, decoder: Decoder[M], message: bytes) -> M | None:
        try:
            return decoder.decode(message)
        except (ProtocolError, InvalidPayload):
            self.unreadable += 1
            return None


def _channel(channel: bytes, instance: str) -> bytes:
    return channel + b":" + instance.encode()
