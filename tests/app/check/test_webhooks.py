import json
from collections.abc import AsyncIterator

import pytest
from tests.app.check.conftest import ELSEWHERE, MakeSettings
from tests.support.processes import free_port
from tests.support.webhook_receiver import SECRET, WebhookReceiver, receiving

from synkora.app.check.finding import Finding
from synkora.app.check.webhooks import check_webhooks


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with receiving(free_port()) as receiver:
        yield receiver


async def look(settings: MakeSettings, url: str) -> Finding:
    (finding,) = await check_webhooks(settings(WEBHOOK_URL=url, WEBHOOK_SECRET=SECRET))
    assert "hunter2" not in f"{finding.message}{finding.advice}"
    return finding


async def test_the_app_gets_a_signed_event(settings: MakeSettings, receiver: WebhookReceiver) -> None:
    finding = await look(settings, f"{receiver.url}?token=hunter2")
    assert (finding.status, finding.message) == ("well", "the app has taken a test event")
    (request,) = receiver.taken
    assert request.headers["webhook-signature"].startswith("v1,")
    assert [event["type"] for event in json.loads(request.body)["events"]] == ["synkora.check"]


@pytest.mark.parametrize(
    ("status", "message", "advice"),
    [
        (401, "status 401", "the same WEBHOOK_SECRET"),
        (404, "status 404", "the path of the app's route"),
        (308, "status 308: redirects are not followed", "the address that it leads to"),
        (500, "status 500", "See the app's log"),
    ],
)
async def test_an_answer_says_what_is_wrong(
    settings: MakeSettings, receiver: WebhookReceiver, status: int, message: str, advice: str
) -> None:
    receiver.statuses = [status]
    finding = await look(settings, receiver.url)
    assert (finding.status, finding.message) == ("wrong", f"the app has not taken a test event: {message}")
    assert advice in finding.advice


async def test_events_over_a_network_should_have_tls(settings: MakeSettings, receiver: WebhookReceiver) -> None:
    finding = await look(settings, receiver.url.replace("127.0.0.1", ELSEWHERE))
    assert finding.status == "risky"
    assert "without TLS" in finding.message


async def test_an_app_that_is_down(settings: MakeSettings) -> None:
    finding = await look(settings, f"http://user:hunter2@127.0.0.1:{free_port()}/hook")
    assert (finding.status, finding.message) == ("wrong", "the app has not taken a test event: no answer: ConnectError")


async def test_without_an_address_nothing_is_sent(settings: MakeSettings) -> None:
    (finding,) = await check_webhooks(settings())
    assert finding.status == "skipped"
