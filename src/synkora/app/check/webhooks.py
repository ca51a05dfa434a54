"""The receiver of the webhooks."""

from time import time
from typing import Final
from urllib.parse import urlsplit

from synkora.app.check.finding import Finding, risky, skipped, well, wrong
from synkora.app.check.network import is_loopback
from synkora.app.settings import Settings
from synkora.app.webhooks.message import WebhookMessage
from synkora.app.webhooks.queue import WebhookEvent, event_id
from synkora.app.webhooks.receiver import NotReceived, Receiver

_PATIENCE: Final = 4.0  # seconds
_CONTENT: Final = b'{"type":"synkora.check","data":{}}'


async def check_webhooks(settings: Settings) -> list[Finding]:
    """Send a test event."""
    if settings.webhook_url is None or not settings.webhook_secrets:
        return [skipped("webhooks", "WEBHOOK_URL is not set")]
    url = settings.webhook_url.get_secret_value()
    secrets = (secret.get_secret_value() for secret in settings.webhook_secrets)
    receiver = Receiver(url, secrets, timeout=_PATIENCE)
    now = int(time() * 1000)
    message = WebhookMessage.of([WebhookEvent(event_id(now, 0), now, _CONTENT)])
    try:
        await receiver.post(message.id, message.body)
    except NotReceived as error:
        return [wrong("webhooks", f"the app has not taken a test event: {error}", _advice(error.status))]
    finally:
        await receiver.close()
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        words = "the app has taken a test event, and gets them without TLS: an attacker on the network can read them"
        return [risky("webhooks", words, "Write https:// into WEBHOOK_URL, unless the network is private")]
    return [well("webhooks", "the app has taken a test event")]


def _advice(status: int | None) -> str:
    match status:
        case None:
            return "See that the app runs and answers at once, and that WEBHOOK_URL is its address for this server"
        case 401 | 403:
            return "Give the app the same WEBHOOK_SECRET, have it verify the body as it was sent, and see its clock"
        case 404 | 405:
            return "See that WEBHOOK_URL has the path of the app's route, and that the route takes POST"
        case _ if 300 <= status < 400:
            return "Write the address that it leads to; or have the app's middleware spare the route"
        case _:
            return "See the app's log"
