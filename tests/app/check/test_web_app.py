"""The checks of the web app: a real one, and other servers in its place."""

import asyncio
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.access.listeners import listening
from tests.access.processes import App
from tests.access.world import SECRET, small_world
from tests.app.check.conftest import ELSEWHERE, GOOD, MakeSettings
from tests.end_to_end.web_app import WebApp
from tests.support.certificates import make_certificate

from synkora.app.check.finding import Finding, FindingStatus
from synkora.app.check.web_app import check_app


@pytest.fixture
def authjs_app(tmp_path: Path) -> Iterator[App]:
    app = App(tmp_path, version="v5", cookie="authjs.session-token")
    app.show(small_world())
    app.start()
    yield app
    app.stop()


async def look(settings: MakeSettings, url: str, secret: str = SECRET, access: str = "http") -> dict[str, Finding]:
    findings = await check_app(settings(PROJECT_ACCESS=access, APP_URL=url, NEXTAUTH_SECRET=secret))
    assert [finding.check for finding in findings] == ["app", "app-session", "app-clock"]
    assert secret not in str(findings)
    return {finding.check: finding for finding in findings}


async def test_no_app(settings: MakeSettings) -> None:
    assert {finding.status for finding in await check_app(settings())} == {FindingStatus.SKIPPED}


async def test_a_good_one(settings: MakeSettings, app: App) -> None:
    """It refuses strangers, accepts sessions made with our secret, and its clock agrees."""
    found = await look(settings, app.url)
    assert {finding.status for finding in found.values()} == {FindingStatus.WELL}, found


async def test_auth_js(settings: MakeSettings, authjs_app: App) -> None:
    """The same with sessions of version 5."""
    found = await look(settings, authjs_app.url + "/")
    assert {finding.status for finding in found.values()} == {FindingStatus.WELL}, found


async def test_an_app_over_the_network(settings: MakeSettings, app: App) -> None:
    """Without TLS, the network can read the sessions."""
    found = await look(settings, app.url.replace("127.0.0.1", ELSEWHERE))
    assert (found["app"].status, "without TLS" in found["app"].message) == (FindingStatus.RISKY, True)
    assert found["app-session"].status is FindingStatus.WELL


@pytest.mark.parametrize("version", ["v4", "v5"])
async def test_another_secret(settings: MakeSettings, app: App, authjs_app: App, version: str) -> None:
    """An app with another secret accepts no session of ours."""
    found = await look(settings, app.url if version == "v4" else authjs_app.url, secret=GOOD)
    assert found["app"].status is FindingStatus.WELL
    assert found["app-session"].status is FindingStatus.RISKY
    assert "NEXTAUTH_SECRET" in found["app-session"].advice


@pytest.mark.parametrize("database_url", ["", "postgresql://127.0.0.1/app"])
async def test_an_app_that_keeps_its_sessions_in_its_database(settings: MakeSettings, database_url: str) -> None:
    """Its CSRF token shows that it has our secret, but it accepts no tokens: DATABASE_URL is needed."""
    digest = hashlib.sha256(f"abc{SECRET}".encode()).hexdigest()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        status = "200 OK" if asked.startswith(b"GET /api/auth/csrf ") else "401 Unauthorized"
        cookie = f"Set-Cookie: next-auth.csrf-token=abc%7C{digest}; Path=/; HttpOnly"
        writer.write(f"HTTP/1.1 {status}\r\n{cookie}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    async with listening(serve) as listener:
        variables = {"APP_URL": listener.url, "NEXTAUTH_SECRET": SECRET, "DATABASE_URL": database_url}
        found = {finding.check: finding for finding in await check_app(settings(**variables))}
    session = found["app-session"]
    assert session.status is (FindingStatus.WELL if database_url else FindingStatus.RISKY)
    assert "sessions in its database" in session.message or "sessions in the database" in session.message
    assert ("Set DATABASE_URL" in session.advice) is not bool(database_url)


async def test_a_page_without_a_session(settings: MakeSettings) -> None:
    async with WebApp().running() as page:
        found = await look(settings, page.origin)
    assert found["app"].status is FindingStatus.WRONG
    assert "status 200" in found["app"].message
    assert found["app-session"].status is FindingStatus.SKIPPED


@pytest.mark.parametrize(
    ("status", "words"),
    [("307 x\r\nLocation: /login", "redirects"), ("404 x", "is not where"), ("502 x", "in trouble")],
)
async def test_other_answers(settings: MakeSettings, status: str, words: str) -> None:
    """Redirects, refusals and failures are distinguished. Without a Date header, clocks are not compared."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    async with listening(serve) as listener:
        found = await look(settings, listener.url)
        alone = await look(settings, listener.url, access="open")
    assert found["app"].status is FindingStatus.WRONG
    assert words in found["app"].message
    assert found["app"].advice
    assert found["app-clock"].status is FindingStatus.SKIPPED
    # Only this check needs the variable, so servers start without it.
    assert alone["app"].status is FindingStatus.RISKY


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", "the app cannot be reached"),
        ("http://nowhere.invalid", "the app cannot be reached"),
        ("app.example.com", "APP_URL must be the app's address"),
        ("http://user:hunter2@127.0.0.1:1", "the app cannot be reached"),
    ],
)
async def test_an_app_that_cannot_be_asked(settings: MakeSettings, url: str, words: str) -> None:
    """The finding contains no secrets of the address."""
    found = await look(settings, url)
    assert found["app"].status is FindingStatus.WRONG
    assert words in found["app"].message
    assert "hunter2" not in str(found)
    assert found["app-session"].status is found["app-clock"].status is FindingStatus.SKIPPED


@pytest.mark.parametrize("words", ["the app did not answer: ", "the app did not answer within 2.5 s"])
async def test_a_silent_app(settings: MakeSettings, words: str) -> None:
    """It closes the connection, or never answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (reader.read() if "within" in words else reader.read(1))

    async with listening(serve) as listener:
        found = await look(settings, listener.url)
    assert found["app"].status is FindingStatus.WRONG
    assert words in found["app"].message


async def test_certificates(settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the server, the system's certificates or those of SSL_CERT_FILE are trusted."""
    certificate, key = make_certificate(tmp_path, "app")
    app = App(tmp_path, cookie="__Secure-next-auth.session-token")
    app.tls = {"certificate": str(certificate), "key": str(key)}
    app.show(small_world())
    app.start()
    try:
        distrusted = await look(settings, app.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        trusted = await look(settings, app.url)
    finally:
        app.stop()
    assert distrusted["app"].status is FindingStatus.WRONG
    assert "certificate" in distrusted["app"].message
    assert {finding.status for finding in trusted.values()} == {FindingStatus.WELL}


async def test_clocks_that_differ(settings: MakeSettings, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens would be invalid."""
    monkeypatch.setattr("synkora.app.check.web_app.time", lambda: time.time() - 3600)
    found = await look(settings, app.url)
    assert found["app-clock"].status is FindingStatus.WRONG
