"""Checks of the web app at `APP_URL`."""

import ssl
from collections.abc import Coroutine, Sequence
from email.utils import parsedate_to_datetime
from time import time
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import httpx

from synkora.access.http import HttpAccess
from synkora.app.check.finding import Finding, FindingStatus, risky, skipped, well
from synkora.app.check.network import is_loopback, judge_clock
from synkora.app.check.sessions import NO_DATABASE, SET_DATABASE, is_made_with, make_test_sessions
from synkora.app.settings import Settings

_PATIENCE: Final = 2.5  # seconds, like a join
_REST: Final = ("app-session", "app-clock")
_CSRF: Final = "/api/auth/csrf"
_NO_PROJECT: Final = "/api/projects/synkora-check"
_UNAUTHORIZED: Final = 401
_NO_ACCESS: Final = (403, 404)


class _Answer(NamedTuple):
    status: int
    date: str | None
    before: float  # seconds since 1970
    after: float


async def check_app(settings: Settings) -> list[Finding]:
    """Check that the app answers access questions, accepts sessions made with our secret, and has the right time."""
    url = settings.app_url
    if url is None:
        return [skipped(name, "APP_URL is not set") for name in ("app", *_REST)]
    # APP_URL may be set only for this check.
    bad = FindingStatus.WRONG if settings.project_access == "http" else FindingStatus.RISKY
    try:
        HttpAccess(url)
        secure = url.lower().startswith("https:")
        secrets = _secrets(settings)
        sessions = [
            session
            for secret in secrets
            for session in make_test_sessions(secret, secure=secure, name=settings.session_cookie)
        ]
        trust = ssl.create_default_context() if secure else False
        async with httpx.AsyncClient(timeout=_PATIENCE, trust_env=False, verify=trust) as client:
            project = url.rstrip("/") + _NO_PROJECT
            stranger = await _ask(client, project)
            unknown = await _first_taken([_ask(client, project, cookie=session) for session in sessions])
            knows_secret = unknown.status == _UNAUTHORIZED and await _knows_secret(client, url, secrets)
    except ValueError as error:
        return _not_asked(Finding("app", bad, f"APP_URL {error}", "Write it as this server reaches the app"))
    except httpx.TimeoutException:
        advice = "See whether the app is overloaded, or a firewall is in between"
        return _not_asked(Finding("app", bad, f"the app did not answer within {_PATIENCE} s", advice))
    except httpx.ConnectError as error:
        advice = "Start the app, or correct APP_URL: the app's address as this server reaches it"
        return _not_asked(Finding("app", bad, f"the app cannot be reached: {error}", advice))
    except httpx.HTTPError as error:
        advice = "See whether APP_URL has the right port, and http or https as the app speaks it"
        return _not_asked(Finding("app", bad, f"the app did not answer: {type(error).__name__}", advice))
    return [
        _judged(stranger, url, bad),
        _session(stranger, unknown, settings, knows_secret=knows_secret),
        _clock(stranger),
    ]


async def _ask(client: httpx.AsyncClient, url: str, **headers: str) -> _Answer:
    before = time()
    async with client.stream("GET", url, headers={"accept": "application/json", **headers}) as response:
        return _Answer(response.status_code, response.headers.get("date"), before, time())


async def _first_taken(questions: Sequence[Coroutine[None, None, _Answer]]) -> _Answer:
    """Return the first answer to a session that the app accepts, or else the last answer."""
    answers = [await question for question in questions]
    return next((answer for answer in answers if answer.status != _UNAUTHORIZED), answers[-1])


def _secrets(settings: Settings) -> list[str]:
    """The secrets that the app may have. NextAuth v4 and Auth.js v5 read different variables."""
    both = (settings.secret, settings.auth_secret)
    return list(dict.fromkeys(secret.get_secret_value() for secret in both if secret is not None))


async def _knows_secret(client: httpx.AsyncClient, url: str, secrets: list[str]) -> bool:
    """Whether the app has the same secret, by the CSRF token of NextAuth's pages."""
    try:
        async with client.stream("GET", url.rstrip("/") + _CSRF) as response:
            given = response.headers.get_list("set-cookie")
    except httpx.HTTPError:
        return False
    return any(is_made_with(secret, cookie) for cookie in given for secret in secrets)


def _judged(stranger: _Answer, url: str, bad: FindingStatus) -> Finding:
    parts, status = urlsplit(url), stranger.status
    if status == _UNAUTHORIZED:
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            message = "the app is asked without TLS: an attacker on the network can read users' sessions"
            return risky("app", message, "Write https:// into APP_URL, unless the network is private")
        return well("app", "reachable, and requires a session")
    match status // 100:
        case 2:
            why = "shows projects without a session"
            advice = "See that APP_URL leads to the app itself, and that its /api/projects/ wants a session"
        case 3:
            why = "redirects, and this server does not follow redirects"
            advice = "Write the address that it leads to, with https if so; or have the app's middleware spare /api/"
        case 4:
            why = "is not where APP_URL says, or does not let this server ask"
            advice = "See that APP_URL has the app's base path, if it has one, and that nothing in front refuses"
        case _:
            why = "is in trouble"
            advice = "See the app's log"
    return Finding("app", bad, f"the app {why}: status {status} for {_NO_PROJECT}, where 401 is due", advice)


def _session(stranger: _Answer, unknown: _Answer, settings: Settings, *, knows_secret: bool) -> Finding:
    if stranger.status != _UNAUTHORIZED:
        return skipped("app-session", "not checked: the app does not answer as it should")
    if unknown.status in _NO_ACCESS:
        return well("app-session", "the app accepts sessions made with NEXTAUTH_SECRET")
    if unknown.status == _UNAUTHORIZED and knows_secret:
        if settings.database_url is not None:
            return well("app-session", "the app has the same secret, and keeps its sessions in the database")
        return risky("app-session", "the app has the same secret, and accepts no tokens: " + NO_DATABASE, SET_DATABASE)
    if unknown.status == _UNAUTHORIZED:
        return risky(
            "app-session",
            "the app does not take a session made with NEXTAUTH_SECRET: then its users cannot sign in here either",
            "Set NEXTAUTH_SECRET to the app's own; ignore this if the app looks users up, or names its cookies itself",
        )
    message = f"with a session of an unknown user, the app fails with status {unknown.status}"
    return risky("app-session", message, "See the app's log")


def _clock(answer: _Answer) -> Finding:
    try:
        theirs = parsedate_to_datetime(answer.date or "").timestamp()
    except ValueError:
        return skipped("app-clock", "the app does not say what time it is")
    return judge_clock("app-clock", "the app's", theirs, answer.before, answer.after)


def _not_asked(failure: Finding) -> list[Finding]:
    return [failure, *(skipped(name, "not checked: the app is unavailable") for name in _REST)]
