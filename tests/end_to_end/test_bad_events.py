"""Well-formed JSON with invalid content: its sender gets an `error` event, and no other client is affected."""

from typing import Any

import pytest
from tests.end_to_end.bystanders import Bystanders
from tests.end_to_end.raw import RawClient
from tests.end_to_end.relays import ROWS

RELAYED = [row.event for row in ROWS]

# What stands behind the event's name, and what has to be in the answer.
PAYLOADS: dict[str, tuple[list[Any], str]] = {
    "no payload": ([], "needs an object with a projectId"),
    "no project id": ([{}], "Project ID is required"),
    "a project id of 300 characters": ([{"projectId": "p" * 300}], "200"),
}


async def expect_error(client: RawClient, words: str) -> None:
    """Check that the next event is an error whose message contains these words."""
    error = await client.expect("error")
    assert isinstance(error["message"], str)
    assert error["message"].strip()
    assert words in error["message"]


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_a_relay_with_a_bad_payload_is_answered(mallory: RawClient, bystanders: Bystanders, payload: str) -> None:
    """Each event of the app has a message, and the connection stays open."""
    arguments, words = PAYLOADS[payload]
    for event in RELAYED:
        await mallory.emit(event, *arguments)
        await expect_error(mallory, words)
    await mallory.goes_on()
    await bystanders.notice_nothing()
