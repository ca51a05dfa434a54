"""Posts messages to the app's backend, and says which were not received."""

import asyncio
import ssl
from collections.abc import Iterable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import time
from typing import Final

import httpx

from synkora.app.webhooks.signing import Signer

TIMEOUT: Final = 8.0  # seconds for a whole request
_LONGEST_ANSWER: Final = 16_384  # bytes that are read, and thrown away, to keep the connection
_HEADERS: Final = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "synkora"}
_LIMITS: Final = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=4)


class NotReceived(Exception):
    """The receiver did not take a message: the reason, without the URL and the answer's body, and the status if any."""

    def __init__(self, problem: str, status: int | None = None) -> None:
        super().__init__(problem)
        self.status = status


class Receiver:
    """The receiver at `url`.

    Redirects are refused, cookies are not kept, and proxies of the environment are not used.
    """

    def __init__(self, url: str, secrets: Iterable[str], *, timeout: float = TIMEOUT) -> None:
        self._url = url
        self._signer = Signer(secrets)
        self._timeout = timeout
        self._tls: ssl.SSLContext | bool = ssl.create_default_context() if url.lower().startswith("https:") else False
        self._client: httpx.AsyncClient | None = None

    async def post(self, message_id: str, body: bytes) -> None:
        """Post a message. Raises `NotReceived` unless the answer's status is 2xx."""
        headers = self._signer.headers(message_id, int(time()), body)
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._opened().stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                await _read_off(answer)
        except TimeoutError:
            raise NotReceived(f"no answer within {self._timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotReceived(f"no answer: {type(error).__name__}") from None
        if answer.is_redirect:
            raise NotReceived(f"status {answer.status_code}: redirects are not followed", answer.status_code)
        if not answer.is_success:
            raise NotReceived(f"status {answer.status_code}", answer.status_code)

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                headers=_HEADERS,
                limits=_LIMITS,
                timeout=self._timeout,
                trust_env=False,
                verify=self._tls,
            )
        return self._client


async def _read_off(answer: httpx.Response) -> None:
    size = 0
    async for part in answer.aiter_raw():
        size += len(part)
        if size > _LONGEST_ANSWER:
            return
