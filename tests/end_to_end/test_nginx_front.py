"""nginx with deploy/nginx/synkora.conf: addresses, origins, TLS, and private paths."""

import json
import re
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.docs.documents import ROOT, blocks
from tests.end_to_end.app_visitors import V4, AppVisitor, collaborate
from tests.end_to_end.behind_nginx import BEHIND_PROXY, HANDSHAKE, client_of, knows
from tests.end_to_end.web_app import WebApp
from tests.support.nginx import running_nginx
from tests.support.processes import PATIENCE
from tests.support.server_process import StartServer


@pytest_asyncio.fixture(loop_scope="session")
async def app() -> AsyncIterator[WebApp]:
    async with WebApp().running() as app:
        yield app


async def test_nothing_of_an_instance_but_socketio_is_public(start_server: StartServer, app: WebApp) -> None:
    """Every other path is the web app's. An instance's health cannot be requested from outside."""
    with running_nginx([start_server().port], app=app.port) as nginx:
        async with httpx.AsyncClient(base_url=nginx.url, timeout=PATIENCE, trust_env=False) as http:
            paths = ("/", "/health", "/ready", "/metrics", "/console", "/socket.io/../health")
            for path in (*paths, "/socket.io/%2e%2e/health", "//health", "/socket.io/health"):
                answer = await http.get(path)
                assert "<title>A project</title>" in answer.text, path


async def test_clients_are_distinguished_by_their_addresses(start_server: StartServer) -> None:
    """The server counts the clients of nginx, whatever headers they send, and not nginx."""
    server = start_server(**BEHIND_PROXY, LIMIT_CONNECTIONS_PER_ADDRESS="1")
    with running_nginx([server.port]) as nginx:

        async def knock(address: str, **headers: str) -> int:
            transport = httpx.AsyncHTTPTransport(local_address=address)
            async with client_of(nginx.url, transport=transport) as http:
                return (await http.get("", params=HANDSHAKE, headers=headers)).status_code

        assert await knock("127.0.0.2") == 200
        assert await knock("127.0.0.2", **{"X-Forwarded-For": "192.0.2.1"}) == 429
        assert await knock("127.0.0.3") == 200


async def test_pages_of_the_servers_own_name_are_accepted(start_server: StartServer) -> None:
    """The server gets the public name and port, so that pages of that origin need not be listed."""
    server = start_server(**BEHIND_PROXY)
    with running_nginx([server.port]) as nginx:
        async with client_of(nginx.url) as http:
            for origin, status in ((nginx.url, 200), ("http://127.0.0.1", 403), ("https://example.com", 403)):
                answer = await http.get("", params=HANDSHAKE, headers={"Origin": origin})
                assert answer.status_code == status, origin


def bare(text: str) -> str:
    """The configuration with nginx's defaults: the upstream's name as Host, and nothing forwarded."""
    return re.sub(r"\n *proxy_set_header (?:Host|X-Forwarded-\w+) .*", "", text)


def forwarding(text: str) -> str:
    """The same, with the public name and port forwarded."""
    line = "        proxy_set_header X-Forwarded-Host $http_host;\n"
    return bare(text).replace("        proxy_http_version", line + "        proxy_http_version")


async def test_the_host_that_nginx_forwards_is_the_pages(start_server: StartServer) -> None:
    """If nginx replaces Host, `X-Forwarded-Host` of a trusted nginx identifies the server's own pages."""
    trusting, doubting = start_server(**BEHIND_PROXY), start_server()
    for server, own in ((trusting, 200), (doubting, 403)):
        with running_nginx([server.port], change=forwarding) as nginx:
            async with client_of(nginx.url) as http:
                for origin, status in ((nginx.url, own), ("https://example.com", 403)):
                    answer = await http.get("", params=HANDSHAKE, headers={"Origin": origin})
                    assert answer.status_code == status, origin


async def test_a_refusal_explains_nginxs_default(start_server: StartServer) -> None:
    """Without the public name, the response and the log name the probable cause."""
    server = start_server(**BEHIND_PROXY)
    with running_nginx([server.port], change=bare) as nginx:
        async with client_of(nginx.url) as http:
            answer = await http.get("", params=HANDSHAKE, headers={"Origin": nginx.url})
            assert answer.status_code == 403
            assert "have the proxy send X-Forwarded-Host" in answer.json()["message"]
    line = f"! Origin refused: {nginx.url} (for the Host synkora, which a proxy may have replaced), from 127.0.0.1"
    server.line(lambda said: said.endswith(line))


@pytest.mark.parametrize(
    "change", [str, bare, forwarding], ids=["as shipped", "as by default", "with X-Forwarded-Host"]
)
async def test_a_browser_signs_in_by_its_cookie(
    start_server: StartServer, app: WebApp, visitors: list[AppVisitor], change: Callable[[str], str]
) -> None:
    """App and server on one origin, a default client: it is signed in, and upgrades. Where nginx replaces Host, fetch
    metadata identifies the server's own page.
    """
    with running_nginx([start_server(**BEHIND_PROXY).port], app=app.port, change=change) as nginx:
        front = WebApp()
        front.port = nginx.port
        assert await collaborate(visitors, front, None, {}, V4) == "websocket"
        for visitor in visitors:
            await visitor.evaluate("void socket.disconnect()")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a certificate for this machine, and of its key, under the names in the configurations."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", "privkey.pem", "-out", "fullchain.pem", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], cwd=folder, check=True, capture_output=True)
    return folder


def several_with_tls(text: str) -> str:
    """The configuration with its lines for TLS enabled, in place of port 80."""
    address = re.search(r"listen (127\.0\.0\.1:\d+);\n", text)
    assert address is not None
    text = text.replace(address[0], "").replace("# listen 443 ", f"listen {address[1]} ")
    return re.sub(r"# (ssl_certificate)", r"\1", text)


def one_with_tls(text: str) -> str:
    """The configuration for one instance in docs/deploying.md, on the port and for the instance of `text`."""
    address, instance = re.search(r"listen (127\.0\.0\.1:\d+);", text), re.search(r"server (127\.0\.0\.1:\d+)", text)
    assert address is not None
    assert instance is not None
    (block,) = blocks(ROOT / "docs" / "deploying.md", "nginx")
    return block.text.replace("listen 443 ", f"listen {address[1]} ").replace("127.0.0.1:3001", instance[1])


@pytest.mark.parametrize("change", [several_with_tls, one_with_tls])
async def test_with_tls(start_server: StartServer, certificate: Path, change: Callable[[str], str]) -> None:
    """With a certificate, a session is opened and polled by https."""

    def with_certificate(text: str) -> str:
        return change(text).replace("/etc/ssl/app.example.com", str(certificate))

    server = start_server(**BEHIND_PROXY)
    with running_nginx([server.port], change=with_certificate) as nginx:
        url = nginx.url.replace("http:", "https:")
        trust = ssl.create_default_context(cafile=certificate / "fullchain.pem")
        async with client_of(url, verify=trust) as http:
            opened = json.loads((await http.get("", params=HANDSHAKE, headers={"Origin": url})).text[1:])
            assert await knows(http, opened["sid"])
