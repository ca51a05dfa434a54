import asyncio
import datetime as dt
import ipaddress
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.access.listeners import Serve, listening
from tests.access.processes import App
from tests.access.world import (
    ODD_PROJECT,
    OWN_PROJECT,
    TEAM_PROJECT,
    World,
    authjs_v5,
    nextauth_v4,
    signed,
    small_world,
)
from tests.contracts.access import AccessContract
from tests.support.processes import PATIENCE
from tests.support.servers import until

from synkora.access.http import MAX_ANSWER, HttpAccess
from synkora.collaboration.access import Access, AccessUnavailable, Role, SessionRefused
from synkora.identity import SignedIn
from synkora.identity.tokens import MAX_TOKEN_LENGTH

OWNER = {"userId": "owner", "role": "OWNER", "user": {"id": "owner", "name": "Olga"}}
PROJECT = {"id": TEAM_PROJECT, "createdById": "creator", "teamId": "team", "team": {"members": [OWNER]}}


class HttpBackend:
    def __init__(self, app: App) -> None:
        self.policy = HttpAccess(app.url)
        self._app = app

    async def show(self, world: World) -> None:
        self._app.show(world)

    async def stop(self) -> None:
        await asyncio.to_thread(self._app.stop)

    async def start(self) -> None:
        await asyncio.to_thread(self._app.start)


@pytest.fixture
async def backend(app: App) -> AsyncIterator[HttpBackend]:
    backend = HttpBackend(app)
    yield backend
    await backend.policy.close()


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[HttpAccess]:
    policy = HttpAccess(url)
    try:
        yield policy
    finally:
        await policy.close()


class TestHttpAccess(AccessContract):
    """The contract, with a real app that reads sessions with NextAuth's own package."""


@pytest.fixture(
    scope="module", params=["authjs.session-token", "__Secure-authjs.session-token", "__Host-authjs.session-token"]
)
def v5_app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    app = App(tmp_path_factory.mktemp("app"), version="v5", cookie=request.param)
    app.show(small_world())
    try:
        app.start()
        yield app
    finally:
        app.stop()


async def test_an_app_with_authjs_v5_understands_its_sessions(v5_app: App) -> None:
    """The session is returned in the cookie whose name salts its key."""
    policy = HttpAccess(v5_app.url)
    assert await policy.role(authjs_v5("editor", v5_app.cookie), TEAM_PROJECT) is Role.EDITOR
    assert await policy.role(authjs_v5("stranger", v5_app.cookie), TEAM_PROJECT) is None
    await policy.close()


@pytest.mark.parametrize("size", [10, 3_000, 6_000])
async def test_sessions_of_any_length_are_understood(app: App, v5_app: App, size: int) -> None:
    claims = {"permissions": "x" * size}
    v4_policy, v5_policy = HttpAccess(app.url), HttpAccess(v5_app.url)
    assert await v4_policy.role(nextauth_v4("viewer", **claims), TEAM_PROJECT) is Role.VIEWER
    assert await v5_policy.role(authjs_v5("viewer", v5_app.cookie, **claims), TEAM_PROJECT) is Role.VIEWER
    await v4_policy.close()
    await v5_policy.close()


async def test_a_session_that_the_app_rejects_gives_no_access(app: App) -> None:
    """For example a signed token, which this server accepts and this app does not."""
    policy = HttpAccess(app.url)
    for rejected in (signed("owner"), SignedIn(signed("owner").user, "no.token")):
        with pytest.raises(SessionRefused) as refused:
            await policy.role(rejected, TEAM_PROJECT)
        assert rejected.token not in repr(refused.value)
        assert await Access(policy).role(rejected, TEAM_PROJECT) is None
    await policy.close()


async def test_a_session_that_is_too_long_for_the_app_is_refused(app: App) -> None:
    """Node.js reads 16 kB of headers. The fault is the session's, and none of the app: an outage would let it stay."""
    too_long = nextauth_v4("owner", permissions="x" * 12_150)
    assert len(too_long.token) <= MAX_TOKEN_LENGTH
    async with asking(app.url) as policy:
        with pytest.raises(SessionRefused, match="status 431") as refused:
            await policy.role(too_long, TEAM_PROJECT)
        assert refused.value.token == too_long.token
        assert await policy.role(nextauth_v4("owner"), TEAM_PROJECT) is Role.OWNER


@pytest.mark.parametrize(
    ("status", "size"), [(400, 3_000), (413, 0), (413, 3_000), (414, 0), (414, 3_000), (431, 0), (431, 3_000)]
)
async def test_answers_about_the_length_of_a_request_are_about_its_session(status: int, size: int) -> None:
    """A 400 is one only to a session that does not fit into one cookie: a faulty app may answer 400 to everyone."""
    with pytest.raises(SessionRefused, match=f"status {status}"):
        await _answered(_response(b"<html>", status=f"{status} Too Long"), permissions="x" * size)


async def test_one_users_session_is_never_used_for_another(app: App) -> None:
    """The app renews sessions in its answers. The renewed session is not kept, and not sent with another user's
    question.
    """
    cookies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            cookies.extend(line for line in head.split(b"\r\n") if line.lower().startswith(b"cookie:"))
            writer.write(_response(PROJECT, "Set-Cookie: next-auth.session-token=of-another; Path=/"))

    async with listening(serve) as listener, asking(listener.url) as policy:
        users = [nextauth_v4("owner"), nextauth_v4("stranger")]
        for user in users:
            await policy.role(user, TEAM_PROJECT)
        assert policy._client is not None
        assert not policy._client.cookies
    assert listener.ever == 1
    assert [cookie.partition(b": ")[2].decode() for cookie in cookies] == [
        f"next-auth.session-token={user.token}" for user in users
    ]


@pytest.mark.parametrize("project_id", ["", ".", "..", "\0", "\ud800"])
async def test_an_id_that_no_address_can_have_is_not_asked(project_id: str) -> None:
    """The request would reach another address of the app."""
    async with listening(_silence) as listener, asking(listener.url) as policy:
        assert await policy.role(nextauth_v4("owner"), project_id) is None
    assert listener.ever == 0


async def test_the_app_is_asked_not_to_compress() -> None:
    """A few compressed bytes could inflate to any size."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).lower())
        writer.write(_response(PROJECT))

    async with listening(serve) as listener, asking(listener.url) as policy:
        await policy.role(nextauth_v4("owner"), TEAM_PROJECT)
    assert [line for line in heads[0].split(b"\r\n") if line.startswith(b"accept-encoding")] == [
        b"accept-encoding: identity"
    ]


async def test_a_base_path_of_the_app_is_kept() -> None:
    paths: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        paths.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1])
        writer.write(_response({**PROJECT, "id": ODD_PROJECT}))

    async with listening(serve) as listener:
        for base in ("/app", "/app/"):
            policy = HttpAccess(listener.url + base)
            assert await policy.role(nextauth_v4("owner"), ODD_PROJECT) is Role.OWNER
            await policy.close()
    expected = b"/app/api/projects/a%20b%2Fc%3Fd%23e%252f..%3B%C3%A9%E2%98%83%F0%9F%98%80%27%22%5C%26%3D%2B%3A%40"
    assert paths == [expected] * 2


def _response(body: object, *headers: str, status: str = "200 OK") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Content-Type: application/json", *headers]
    return "\r\n".join([*head, "", ""]).encode() + content


async def _answered(answer: bytes, user_id: str = "owner", **claims: str) -> Role | None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with listening(serve) as listener, asking(listener.url) as policy:
        return await policy.role(nextauth_v4(user_id, **claims), TEAM_PROJECT)


@pytest.mark.parametrize(
    ("project", "user_id", "role"),
    [
        (PROJECT, "owner", Role.OWNER),
        (PROJECT, "creator", Role.VIEWER),
        (PROJECT, "someone", Role.VIEWER),
        ({**PROJECT, "team": {"members": [{"userId": "owner", "role": "GUEST"}]}}, "owner", Role.VIEWER),
        ({**PROJECT, "team": {"members": [{"userId": "owner"}]}}, "owner", Role.VIEWER),
        ({**PROJECT, "team": {}}, "creator", Role.VIEWER),
        ({**PROJECT, "team": None}, "creator", Role.VIEWER),
        ({**PROJECT, "team": None, "teamId": None}, "creator", Role.OWNER),
        ({**PROJECT, "team": None, "teamId": None}, "owner", Role.VIEWER),
        ({"createdById": "creator"}, "creator", Role.OWNER),
        ({**PROJECT, "id": "proj_of_somebody_else"}, "owner", None),
    ],
)
async def test_the_role_is_read_from_the_answer(project: object, user_id: str, role: Role | None) -> None:
    """A user who can see a project may view it. Only a role in the answer allows more."""
    assert await _answered(_response(project), user_id) is role


@pytest.mark.parametrize("is_fresh", [False, True])
async def test_a_session_that_the_app_has_ended_does_not_decide_about_another_one(is_fresh: bool) -> None:
    """Of the same user, whose questions come together: the app is asked with each session, once."""
    ended, valid = nextauth_v4("owner"), nextauth_v4("owner", tab=2)
    asked: list[SignedIn] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            asked.append(next(each for each in (ended, valid) if each.token.encode() in head))
            status = "401 Unauthorized" if asked[-1] is ended else "200 OK"
            writer.write(_response(PROJECT, status=status))

    async with listening(serve) as listener, asking(listener.url) as policy:
        access = Access(policy)
        roles = await asyncio.gather(
            *(access.role(each, TEAM_PROJECT, fresh=is_fresh) for each in (ended, ended, valid))
        )
    assert roles == [None, None, Role.OWNER]
    assert asked == [ended, valid]


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found"])
async def test_refusals_of_the_app_are_refusals(status: str) -> None:
    """They grant no access, and are no failure of the app, whatever their message."""
    assert await _answered(_response(b"<html>", status=status)) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        _response(PROJECT, status="500 Internal Server Error"),
        _response(PROJECT, status="503 Service Unavailable"),
        _response(PROJECT, status="400 Bad Request"),
        _response(PROJECT, status="429 Too Many Requests"),
        _response(PROJECT, status="201 Created"),
        _response(b"", status="204 No Content"),
        _response(PROJECT, "Location: /api/auth/signin", status="302 Found"),
        _response(PROJECT, "Location: http://[", status="307 Temporary Redirect"),
        _response(PROJECT, "Content-Encoding: gzip"),
        _response(b"<!doctype html><title>Sign in</title>"),
        _response(b""),
        _response(b"\xff\xfe"),
        _response(b"[" * 100_000),
        _response({**PROJECT, "board": "\ud83d" * 10_001}),
        _response(json.dumps(PROJECT)[:-1].encode() + b', "board": ' + b"[" * 2_000 + b"]" * 2_000 + b"}"),
        _response({}),
        _response([PROJECT]),
        _response({"project": PROJECT}),
        _response({**PROJECT, "createdById": None}),
        _response({**PROJECT, "team": {"members": [{"role": "OWNER"}]}}),
        _response({**PROJECT, "team": {"members": {"owner": "OWNER"}}}),
    ],
)
async def test_any_other_answer_is_unavailable(answer: bytes) -> None:
    """An invalid project grants no access, and is reported as the app's failure in this server's words."""
    with pytest.raises(AccessUnavailable, match=r"the app[\w' ]+(: \w+)?$") as unavailable:
        await _answered(answer)
    assert unavailable.value.__cause__ is None


async def test_a_header_that_no_request_can_have_is_not_quoted() -> None:
    signed_in = SignedIn(nextauth_v4("owner").user, "secret\r\nx: y")
    policy = HttpAccess("http://127.0.0.1:9")
    with pytest.raises(AccessUnavailable) as unavailable:
        await policy.role(signed_in, TEAM_PROJECT)
    assert "secret" not in str(unavailable.value)
    await policy.close()


async def test_an_answer_has_a_greatest_length() -> None:
    """An answer just below the limit is read. A longer one is not read to its end."""
    members = [{"userId": f"user{n}", "role": "EDITOR", "user": {"image": "x" * 400}} for n in range(8_000)]
    team = {**PROJECT, "team": {"members": [*members, OWNER]}}
    size = len(json.dumps(team))
    assert await _answered(_response({**team, "pad": "x" * (MAX_ANSWER - size - 20)})) is Role.OWNER
    with pytest.raises(AccessUnavailable, match="bytes"):
        await _answered(_response({**team, "pad": "x" * (MAX_ANSWER - size + 20)}))
    with pytest.raises(AccessUnavailable, match="bytes"):
        await _answered(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * (MAX_ANSWER + 1))


async def _silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not reader.at_eof():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def test_closing_does_not_wait_for_an_app_that_does_not_answer() -> None:
    async with listening(_silence) as listener:
        policy = HttpAccess(listener.url)
        question = asyncio.create_task(Access(policy).role(nextauth_v4("owner"), TEAM_PROJECT))
        await until(lambda: listener.now == 1)
        async with asyncio.timeout(PATIENCE):
            await policy.close()
            with pytest.raises(AccessUnavailable):
                await question


@pytest.mark.parametrize("serve", [_silence, _drip])
async def test_an_app_that_hangs_ends_in_time(serve: Serve) -> None:
    """Joins are refused after 3 s. Any number of questions makes few connections, and none remains."""
    async with listening(serve) as listener, asking(listener.url) as policy:
        access = Access(policy)
        questions = (access.role(nextauth_v4(f"user{n}"), TEAM_PROJECT) for n in range(50))
        async with asyncio.timeout(PATIENCE):
            failures = await asyncio.gather(*questions, return_exceptions=True)
        assert all(isinstance(failure, AccessUnavailable) for failure in failures), failures
        assert 1 <= listener.most <= 20
        await until(lambda: listener.now == 0)


async def test_questions_that_were_given_up_leave_room_for_others() -> None:
    """After many questions that timed out, the app is asked immediately once it works again."""
    hangs = True

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if hangs:
            await reader.read()
        else:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_response(PROJECT))

    async with listening(serve) as listener, asking(listener.url) as policy:
        for _ in range(3):
            asked = [asyncio.create_task(policy.role(nextauth_v4("owner"), TEAM_PROJECT)) for _ in range(40)]
            await until(lambda: listener.now == 20)
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            await until(lambda: listener.now == 0)
        hangs = False
        roles = await asyncio.gather(*(policy.role(nextauth_v4("owner"), TEAM_PROJECT) for _ in range(40)))
        assert roles == [Role.OWNER] * 40


async def test_connections_are_used_again(app: App) -> None:
    """Consecutive questions share one connection, whatever the answers."""
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_response(PROJECT) if asked % 2 else _response({"error": "x"}, status="404 Not Found"))
            asked += 1

    async with listening(serve) as listener, asking(listener.url) as policy:
        for _ in range(6):
            await policy.role(nextauth_v4("owner"), TEAM_PROJECT)
        assert (asked, listener.ever) == (6, 1)


async def test_an_app_with_tls_is_asked_if_its_certificate_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is in the secure cookie. An unknown certificate is refused."""
    certificate = _certificate(tmp_path)
    app = App(tmp_path, cookie="__Secure-next-auth.session-token")
    app.tls = {"certificate": str(certificate), "key": str(certificate)}
    app.show(small_world())
    await asyncio.to_thread(app.start)
    try:
        trusting_nobody = HttpAccess(app.url)
        with pytest.raises(AccessUnavailable, match="certificate"):
            await trusting_nobody.role(nextauth_v4("owner"), TEAM_PROJECT)
        await trusting_nobody.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        policy = HttpAccess(app.url)
        assert await policy.role(nextauth_v4("owner"), TEAM_PROJECT) is Role.OWNER
        assert await policy.role(nextauth_v4("owner"), OWN_PROJECT) is None
        await policy.close()
    finally:
        await asyncio.to_thread(app.stop)


async def test_a_proxy_of_the_environment_is_not_used(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    policy = HttpAccess(app.url)
    assert await policy.role(nextauth_v4("owner"), TEAM_PROJECT) is Role.OWNER
    await policy.close()


async def test_no_log_has_the_token(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """At the most detailed level, neither this server nor its libraries log sessions."""
    caplog.set_level(logging.DEBUG)
    policy, owner = HttpAccess(app.url), nextauth_v4("owner")
    assert await policy.role(owner, TEAM_PROJECT) is Role.OWNER
    await policy.close()
    assert caplog.records
    assert owner.token not in caplog.text


def test_a_policy_is_made_before_there_is_a_loop() -> None:
    """Connections are made at the first question, and an unused policy has nothing to close."""
    policy = HttpAccess("http://127.0.0.1:9")
    asyncio.run(policy.close())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "app.example.com",
        "//app.example.com",
        "ftp://app.example.com",
        "http://",
        "http://:3000",
        "http://app.example.com?hunter2",
        "http://app.example.com#hunter2",
        "http://app.example.com:hunter2",
        "http://app.example.com:99999",
        "http://[hunter2",
        "http://app.example.com/\n",
    ],
)
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be the app's address") as refused:
        HttpAccess(url)
    assert "hunter2" not in str(refused.value)


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app")])
    now = dt.datetime.now(dt.UTC)
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(loopback, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "certificate.pem"
    file.write_bytes(private + certificate.public_bytes(pem))
    return file
