import asyncio

import pytest

from synkora.sockets.answer_collector import AnswerCollector
from synkora.sockets.errors import AckTimeout


async def test_all_answers_end_the_wait() -> None:
    """Whether their number is known before or after them."""
    before, after = AnswerCollector(), AnswerCollector()
    before.expect(2)
    for answers in (before, after):
        answers.add("a")
        answers.add(None)
    after.expect(2)
    assert await before.wait(5) == await after.wait(5) == ["a", None]


async def test_without_recipients_it_does_not_wait() -> None:
    answers = AnswerCollector()
    answers.expect(0)
    assert await answers.wait(5) == []


async def test_too_few_answers_are_a_timeout() -> None:
    """The error has the received ones. Later ones change neither the error nor the wait."""
    answers = AnswerCollector()
    answers.add(1)
    with pytest.raises(AckTimeout, match=r"1 of all answers within 0\.01 s") as unknown:
        await answers.wait(0.01)
    answers = AnswerCollector()
    answers.expect(3)
    answers.add(1)
    answers.add(2)
    with pytest.raises(AckTimeout, match=r"2 of 3 answers within 0\.01 s") as known:
        await answers.wait(0.01)
    answers.add(3)
    assert (unknown.value.answers, known.value.answers) == ([1], [1, 2])


async def test_answers_are_waited_for() -> None:
    answers = AnswerCollector()
    answers.expect(2)
    waiting = asyncio.ensure_future(answers.wait(5))
    for value in ("a", "b"):
        await asyncio.sleep(0)
        assert not waiting.done()
        answers.add(value)
    assert await waiting == ["a", "b"]
