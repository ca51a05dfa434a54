"""TLS: real certificates, real clients, and messages for unusable files."""

import asyncio
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import httpx
import psutil
import pytest
import socketio  # type: ignore[import-untyped]  # it has no types
from starlette.types import Receive, Scope, Send
from tests.support.certificates import make_certificate
from tests.support.clients import WebSocket
from tests.support.key_updates import key_changer
from tests.support.processes import PATIENCE, Program, Synkora
from tests.support.servers import crowded, running, serving, until
from tests.support.wire import TEXT, Connection, client_frame, upgrade
from websockets.asyncio.client import connect

from synkora import Socket, SocketServer
from synkora.identity.tokens import sign
from synkora.serving.http_limits import TLS_AHEAD
from synkora.serving.server import TLS_WINDOW, Server
from synkora.serving.tls import TlsError, tls_context
from synkora.serving.uvicorn_polling import PollingProtocol
from synkora.sockets.internals import registry_of

SECRET = "a-secret-of-the-tls-tests-3f61c0a9d2"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"), "server")


@pytest.fixture
def program(tmp_path: Path, files: tuple[Path, Path]) -> Iterator[Program]:
    variables = {"SSL_CERTFILE": str(files[0]), "SSL_KEYFILE": str(files[1])}
    given = {"NEXTAUTH_SECRET": SECRET, "WS_HOST": "127.0.0.1", "WS_PORT": "0", **variables}
    with Synkora(tmp_path, "serve", **given) as program:
        yield program


def origin_of(program: Program) -> str:
    line = program.line(lambda line: "Health check" in line)
    return line.removeprefix("✓ Health check: ").removesuffix("/health")


@pytest.fixture
def trust(files: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=files[0])


async def test_the_banner_and_the_health_say_https(program: Program, trust: ssl.SSLContext) -> None:
    """The address in the banner answers over TLS only."""
    origin = origin_of(program)
    assert origin.startswith("https://127.0.0.1:")
    async with httpx.AsyncClient(verify=trust, trust_env=False) as http:
        assert (await http.get(f"{origin}/health")).json()["status"] == "healthy"
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.TransportError):
            await http.get(f"{origin.replace('https', 'http')}/health")


def test_a_renewed_certificate_is_shown(tmp_path: Path) -> None:
    """After SIGHUP, new connections get the new certificate. An unusable one is logged, and changes nothing."""
    certfile, keyfile = make_certificate(tmp_path, "server")
    variables = {"NEXTAUTH_SECRET": SECRET, "WS_HOST": "127.0.0.1", "WS_PORT": "0"}
    with Synkora(tmp_path, "serve", SSL_CERTFILE=str(certfile), SSL_KEYFILE=str(keyfile), **variables) as program:
        origin, port = origin_of(program), int(origin_of(program).rpartition(":")[2])
        shown = ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE)
        assert shown == certfile.read_text()
        trust = ssl.create_default_context(cafile=certfile)
        with httpx.Client(verify=trust, trust_env=False) as early:
            assert early.get(f"{origin}/health").status_code == 200

            certfile.write_text("no certificate")
            program.signal(signal.SIGHUP)
            program.line(lambda line: line.startswith("! Not reloaded: SSL_CERTFILE, SSL_KEYFILE: "))
            assert ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE) == shown

            make_certificate(tmp_path, "server")
            program.signal(signal.SIGHUP)
            program.line(lambda line: line == "✓ The certificate has been read again")
            renewed = ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE)
            assert renewed == certfile.read_text() != shown
            assert early.get(f"{origin}/health").status_code == 200  # by the connection that it has


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids="-".join)
async def test_users_collaborate(program: Program, transports: list[str], trust: ssl.SSLContext) -> None:
    """Two Socket.IO clients join a project over wss and https, and one gets the other's edit, large or small."""
    origin = origin_of(program)
    seen: asyncio.Queue[object] = asyncio.Queue()
    joined: asyncio.Queue[object] = asyncio.Queue()
    clients: list[socketio.AsyncClient] = []
    sessions: list[aiohttp.ClientSession] = []
    for name in ("Alice", "Bob"):
        sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)))
        client = socketio.AsyncClient(http_session=sessions[-1], reconnection=False)
        clients.append(client)
        client.on("users:count", joined.put)
        client.on("task:create", lambda task, *_: seen.put_nowait(task))  # the position comes after the task
        token = sign({"id": name.lower(), "name": name}, SECRET, expires_in=600)
        await client.connect(origin, auth={"token": token}, transports=transports)
        await client.emit("join-project", "p1")
        async with asyncio.timeout(PATIENCE):
            await joined.get()
    for task in ({"title": "small"}, {"title": "x" * 200_000}):
        await clients[0].emit("task:create", {"projectId": "p1", "task": task})
        async with asyncio.timeout(PATIENCE):
            assert await seen.get() == task
    for client, session in zip(clients, sessions, strict=True):
        await client.disconnect()
        await session.close()
    # aiohttp does not wait for the ends of its TLS connections, which have to be before the end of the event loop.
    await until(
        lambda: not any(each.raddr[1:] == (urlsplit(origin).port,) for each in psutil.Process().net_connections("tcp"))
    )


@pytest.mark.parametrize("size", [1, 1_000, 100_000])
async def test_a_client_that_reads_late_gets_everything(files: tuple[Path, Path], size: int) -> None:
    """The backlog comes in order, and messages go both ways before and after."""
    server = SocketServer()
    sockets: list[Socket] = []
    main = server.of("/")
    main.on_connect(lambda socket, auth: sockets.append(socket))
    main.on("echo", lambda socket, value: socket.emit("echo", value))
    trust = ssl.create_default_context(cafile=files[0])
    count = min(3_000_000 // size, 500)
    async with serving(server, tls=tls_context(*files)) as address:
        url = address.url("websocket").replace("ws://", "wss://")
        async with connect(url, ssl=trust, proxy=None, compression=None, max_queue=1) as connection:
            client = WebSocket(connection)
            await client.receive()
            await client.connect()
            for round_ in range(3):
                await client.emit("echo", round_)
                assert await client.event() == ["echo", round_]
                for number in range(count):
                    sockets[0].emit("n", number, "x" * size)
                    if number % 50 == 0:
                        await asyncio.sleep(0)  # another turn of the loop, another write
                assert [(await client.event())[1] for _ in range(count)] == list(range(count))
            assert sockets[0]._session.outbox.is_empty


async def test_frames_after_a_handshake_wait_for_their_turn(files: tuple[Path, Path]) -> None:
    """In one record or several. Each event arrives once, as it was sent."""
    server = SocketServer()
    seen: list[object] = []
    main = server.of("/")
    main.on("n", lambda socket, *values: seen.append(values))
    registry = registry_of(server)
    trust = ssl.create_default_context(cafile=files[0])
    events = [client_frame(TEXT, b'42["n",%d,"%b"]' % (number, b"x" * 5_000)) for number in range(10)]
    async with serving(server, tls=tls_context(*files)) as address:
        client = await Connection.open(address.port, trust=trust)
        with crowded(registry.strangers, registry.arrivals):
            await client.send(upgrade(path=address.path), client_frame(TEXT, b"40"), *events)
            await until(lambda: len(seen) == 10)
        await client.send(client_frame(TEXT, b'42["n","last"]'))
        await until(lambda: len(seen) > 10)
        client.abort()
    assert seen == [*((number, "x" * 5_000) for number in range(10)), ("last",)]


async def test_a_client_that_never_reads_is_cut_off(files: tuple[Path, Path]) -> None:
    """The limit of the backlog also applies over TLS."""
    server = SocketServer(max_outbox=1_000_000)
    sockets: list[Socket] = []
    reasons: list[str] = []
    server.of("/").on_connect(lambda socket, auth: sockets.append(socket))
    server.of("/").on_disconnect(lambda socket, reason: reasons.append(reason))
    trust = ssl.create_default_context(cafile=files[0])
    async with serving(server, tls=tls_context(*files)) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port, ssl=trust, limit=1024)
        writer.write(upgrade(path=address.path))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(client_frame(TEXT, b"40"))
        await until(lambda: sockets)
        for _ in range(200):
            sockets[0].emit("large", "x" * 100_000)
            await asyncio.sleep(0)
        await until(lambda: reasons)
        assert reasons == ["transport error"]
        assert [tally.kind for tally in server.incidents.take()] == ["slow client cut off"]
        writer.transport.abort()


def connect_without_reading(port: int, trust: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.settimeout(PATIENCE)
    plain.connect(("127.0.0.1", port))
    secured = trust.wrap_socket(plain, server_hostname="127.0.0.1")
    secured.setblocking(False)
    return secured


async def test_the_time_for_the_last_bytes_is_limited(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for bytes that are encrypted already, which the transport does not count."""
    monkeypatch.setattr("synkora.serving.http_limits.READ_TIME", 0.5)
    trust = ssl.create_default_context(cafile=files[0])
    serving_it = Server(SocketServer(), app=thirty_kilobytes, tls=tls_context(*files), shutdown_timeout=0.05)
    state = serving_it.server_state
    async with running(serving_it, "/socket.io/") as address:
        with await asyncio.to_thread(connect_without_reading, address.port, trust) as first:
            await until(lambda: state.connections)
            (protocol,) = state.connections
            asked = 0
            while not protocol.transport.get_write_buffer_size():
                await ask(first, serving_it)
                asked += 1
        await until(lambda: not state.connections)
        with await asyncio.to_thread(connect_without_reading, address.port, trust) as second:
            await until(lambda: state.connections)
            (protocol,) = state.connections
            for _ in range(asked - 2):  # so that what is encrypted waits for the kernel alone
                await ask(second, serving_it)
            assert not protocol.transport.get_write_buffer_size()
            with suppress(ssl.SSLError):  # it waits for the server's end
                second.unwrap()
            await until(lambda: not state.connections)


async def test_a_handshake_behind_unread_responses(files: tuple[Path, Path]) -> None:
    """The client is cut off: nothing would report the full write buffer to the WebSocket."""
    server = SocketServer()
    trust = ssl.create_default_context(cafile=files[0])
    serving_it = Server(server, app=thirty_kilobytes, tls=tls_context(*files), shutdown_timeout=0.05)
    state = serving_it.server_state
    async with running(serving_it, "/socket.io/") as address:
        with await asyncio.to_thread(connect_without_reading, address.port, trust) as client:
            await until(lambda: state.connections)
            (protocol,) = state.connections
            assert isinstance(protocol, PollingProtocol)
            while not protocol.flow.write_paused:
                await ask(client, serving_it)
            client.send(upgrade())
            await until(lambda: not state.connections)
        assert not len(registry_of(server))
        assert [tally.kind for tally in server.incidents.take()] == ["slow client cut off"]


async def ask(client: ssl.SSLSocket, server: Server) -> None:
    """Send a request, and wait until it has been answered."""
    answered = server.server_state.total_requests
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: server.server_state.total_requests > answered)


async def thirty_kilobytes(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"30000")]})
    await send({"type": "http.response.body", "body": b"x" * 30_000})


async def test_the_read_buffer_over_tls_is_small(files: tuple[Path, Path]) -> None:
    """uvloop's buffers never shrink, so they must not grow with a message. Large messages still arrive."""
    server = SocketServer()
    server.of("/").on("size", lambda socket, text: len(text))
    trust = ssl.create_default_context(cafile=files[0])
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            for session in registry_of(server):
                most = max(most, session.transport._connection.get_read_buffer_size())  # type: ignore[attr-defined]  # a WebSocket's
            await asyncio.sleep(0)

    async with serving(server, tls=tls_context(*files)) as address:
        url = address.url("websocket").replace("ws://", "wss://")
        async with connect(url, ssl=trust, proxy=None, compression=None) as connection:
            client = WebSocket(connection)
            await client.receive()
            await client.connect()
            watching = asyncio.create_task(watch())
            for size in (999_000, 40_000, 24_500, 16_384, 999_000):
                await connection.send(f'420["size","{"x" * (size - 20)}"]')
                assert await client.receive() == f"430[{size - 20}]"
            watching.cancel()
    assert 0 < most <= TLS_AHEAD + 2 * TLS_WINDOW


async def test_a_client_cannot_renegotiate(files: tuple[Path, Path]) -> None:
    """In TLS 1.2 each renegotiation would cost as much as a handshake: the server ignores the request."""
    server = SocketServer()
    async with serving(server, tls=tls_context(*files)) as address:
        arguments = ("s_client", "-connect", f"127.0.0.1:{address.port}", "-tls1_2", "-legacy_renegotiation")
        pipe = asyncio.subprocess.PIPE
        client = await asyncio.create_subprocess_exec("openssl", *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
        async with asyncio.timeout(PATIENCE):
            _, errors = await client.communicate(b"R\n")
    assert b"no renegotiation" in errors


async def test_changes_of_keys_without_data_end_the_connection(files: tuple[Path, Path]) -> None:
    """Each costs as much as a thousand bytes, and a full receive buffer of them would hold up everyone."""
    server = SocketServer()

    def flood(port: int) -> int:
        with key_changer(port) as client:
            return next((number for number in range(100_000) if not client.update()), 100_000)

    async with serving(server, tls=tls_context(*files)) as address:
        assert await asyncio.to_thread(flood, address.port) < 100_000
        await until(lambda: len(server.incidents))
    assert [tally.kind for tally in server.incidents.take()] == ["flooding client cut off"]


async def test_changes_of_keys_with_data_in_between(files: tuple[Path, Path]) -> None:
    """A client may change its keys, as often as it sends."""

    def ask(port: int) -> set[bytes]:
        with key_changer(port) as client:
            answers = set()
            for _ in range(1000):
                assert client.update()
                client.send(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answers.add(client.receive().partition(b"\r\n")[0])
            return answers

    server = SocketServer()
    async with serving(server, tls=tls_context(*files)) as address:
        assert await asyncio.to_thread(ask, address.port) == {b"HTTP/1.1 404 Not Found"}
    assert not len(server.incidents)


async def test_a_handshake_that_never_ends(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not start TLS is disconnected."""
    monkeypatch.setattr("synkora.serving.server.TLS_TIME", 0.3)
    async with serving(SocketServer(), tls=tls_context(*files)) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
        async with asyncio.timeout(PATIENCE):
            try:
                assert await reader.read() == b""
            except ConnectionError:
                pass
        writer.close()


async def test_a_large_hello_ends_the_connection(files: tuple[Path, Path]) -> None:
    """OpenSSL would store up to 131,396 bytes of it, and the server three times as much until the timeout."""
    hello = b"\x01" + (130_000).to_bytes(3, "big") + b"\x03\x03" + bytes(129_000)
    parts = [hello[start : start + 16_384] for start in range(0, len(hello), 16_384)]
    server = SocketServer()
    async with serving(server, tls=tls_context(*files)) as address:
        client = await Connection.open(address.port)
        try:
            await client.send(*(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts))
        except ConnectionError:
            pass
        await client.ended()
        await until(lambda: len(server.incidents))
    assert [tally.kind for tally in server.incidents.take()] == ["flooding client cut off"]


async def test_connections_in_the_handshake_are_counted(files: tuple[Path, Path]) -> None:
    """Their memory returns when they end, as that of others does."""
    server = Server(SocketServer(), tls=tls_context(*files), shutdown_timeout=0.05)
    async with running(server, "/socket.io/") as address:
        clients = [await Connection.open(address.port) for _ in range(10)]
        await until(lambda: server._count_connections() == 10)
        for client in clients[:4]:
            client.abort()
        await until(lambda: server._count_connections() == 6)
        for client in clients[4:]:
            client.abort()
        await until(lambda: server._count_connections() == 0)


async def test_a_client_without_tls_affects_no_other(program: Program, trust: ssl.SSLContext) -> None:
    origin = origin_of(program)
    port = int(origin.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        writer.write(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            assert not (await reader.read()).startswith(b"HTTP")
    async with httpx.AsyncClient(verify=trust, trust_env=False) as http:
        assert (await http.get(f"{origin}/health")).status_code == 200
    assert program.stderr == []


class TestFiles:
    def test_matching_settings_are_required_together(self, files: tuple[Path, Path]) -> None:
        """A certificate and its key give a context without insecure versions."""
        assert tls_context(*files).minimum_version is ssl.TLSVersion.TLSv1_2

    def test_a_file_that_is_not_there(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        missing = tmp_path / "missing.pem"
        with pytest.raises(
            TlsError, match=r"^SSL_CERTFILE: .*/missing\.pem cannot be read: No such file or directory$"
        ):
            tls_context(missing, files[1])
        with pytest.raises(TlsError, match=r"^SSL_KEYFILE: .*/missing\.pem cannot be read"):
            tls_context(files[0], missing)

    def test_the_key_of_another(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        _, other = make_certificate(tmp_path, "other")
        with pytest.raises(TlsError, match=r"^SSL_KEYFILE: .*/other\.key is not the key of the certificate in .*$"):
            tls_context(files[0], other)

    def test_files_of_something_else(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        other = tmp_path / "notes.txt"
        other.write_text("hello")
        for pair in ((other, files[1]), (files[0], other), (files[1], files[0])):
            with pytest.raises(TlsError, match=r"are not a certificate and its key$"):
                tls_context(*pair)

    def test_a_key_with_a_passphrase(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        locked = tmp_path / "locked.key"
        subprocess.run(
            ["openssl", "ec", "-in", files[1], "-aes256", "-passout", "pass:hunter2", "-out", locked],
            check=True,
            capture_output=True,
        )
        with pytest.raises(TlsError, match=r"^SSL_KEYFILE: .*/locked\.key is encrypted"):
            tls_context(files[0], locked)


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"SSL_CERTFILE": "server.crt"}, "SSL_CERTFILE is set, but SSL_KEYFILE is not: TLS needs both"),
        ({"SSL_KEYFILE": "server.key"}, "SSL_KEYFILE is set, but SSL_CERTFILE is not: TLS needs both"),
        (
            {"SSL_CERTFILE": "none.crt", "SSL_KEYFILE": "none.key"},
            "SSL_CERTFILE: none.crt cannot be read: No such file or directory",
        ),
    ],
)
def test_a_server_that_cannot_start(tmp_path: Path, variables: dict[str, str], line: str) -> None:
    """One line on stderr, and exit status 1."""
    with Synkora(tmp_path, "serve", NEXTAUTH_SECRET=SECRET, WS_PORT="0", **variables) as program:
        assert program.wait() == 1
        assert (program.stdout, program.stderr) == ([], [line])
