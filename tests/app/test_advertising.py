"""Where an instance says that others reach it."""

import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.support.certificates import make_certificate

from synkora.app import advertising
from synkora.app.advertising import announcement
from synkora.app.settings import Settings, SettingsError, load_settings
from synkora.cluster.instance_directory import Announcement
from synkora.protocol.json import encode

KEY = bytes(range(32))

Given = Callable[..., Settings]


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    """Settings with these variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXTAUTH_SECRET", "s3cret")

    def given(**variables: str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return given


@pytest.fixture
def listening() -> Iterator[Callable[..., socket.socket]]:
    """Listening sockets, at these hosts."""
    opened: list[socket.socket] = []

    def listening(host: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened.append(socket.create_server((host, 0), family=family))
        return opened[-1]

    yield listening
    for each in opened:
        each.close()


def port_of(listening: socket.socket) -> int:
    port: int = listening.getsockname()[1]
    return port


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_the_address_that_it_listens_on(
    given: Given, listening: Callable[..., socket.socket], host: str, shown: str
) -> None:
    here = listening(host)
    assert announcement(given(), here, KEY) == Announcement(f"http://{shown}:{port_of(here)}", KEY.hex())


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104  # in a test, for a moment
def test_an_instance_on_every_interface(given: Given, listening: Callable[..., socket.socket], host: str) -> None:
    """It names this machine's address in its network, IPv4 or IPv6 as it listens, at which the port answers."""
    here = listening(host)
    url = announcement(given(), here, KEY).url
    address = url.removeprefix("http://").rpartition(":")[0].strip("[]")
    assert address != host
    with socket.create_connection((address, port_of(here))):
        pass


def test_a_machine_without_a_network(
    given: Given, listening: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other instances are on the same machine. The system refuses to connect to the broadcast address, as to no way."""
    here = listening("0.0.0.0")  # noqa: S104  # in a test, for a moment
    monkeypatch.setattr(advertising, "_ANYWHERE", {socket.AF_INET: ("255.255.255.255", 9)})
    assert announcement(given(), here, KEY).url == f"http://127.0.0.1:{port_of(here)}"


def test_what_the_operator_says_counts(given: Given, listening: Callable[..., socket.socket]) -> None:
    here = listening("127.0.0.1")
    assert announcement(given(WS_ADVERTISE="10.0.0.7:3001"), here, KEY).url == "http://10.0.0.7:3001"
    assert announcement(given(WS_ADVERTISE="[2001:db8::7]:3001"), here, KEY).url == "http://[2001:db8::7]:3001"
    of_a_proxy = announcement(given(WS_ADVERTISE="https://ws-1.example.com:3001"), here, KEY)
    assert of_a_proxy == Announcement("https://ws-1.example.com:3001", KEY.hex())


@pytest.mark.parametrize(
    "wrong", ["10.0.0.7", "ftp://a:1", "a:b", ":3001", "http://a", "http://a:1/path", "a b:1", "a:99999"]
)
def test_what_is_no_address_is_refused(given: Given, wrong: str) -> None:
    with pytest.raises(SettingsError, match="WS_ADVERTISE"):
        given(WS_ADVERTISE=wrong)


def test_an_instance_with_tls_shows_its_certificate(
    given: Given, listening: Callable[..., socket.socket], tmp_path: Path
) -> None:
    """The first in its file, and after a renewal the new one. Others check a URL's certificate by the name."""
    here = listening("127.0.0.1")
    certfile, keyfile = make_certificate(tmp_path, "one")
    other, _ = make_certificate(tmp_path, "two")
    settings = given(SSL_CERTFILE=str(certfile), SSL_KEYFILE=str(keyfile))
    for first, second in ((certfile, other), (other, certfile)):
        shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first.read_text())).hexdigest()
        chain = first.read_text() + second.read_text()
        before = certfile.read_text()
        certfile.write_text(chain)
        assert announcement(settings, here, KEY) == Announcement(f"https://127.0.0.1:{port_of(here)}", KEY.hex(), shown)
        certfile.write_text(before)
    named = given(WS_ADVERTISE="https://ws-1.example.com:3001")
    assert announcement(named, here, KEY).certificate == ""


def test_others_accept_what_is_announced(given: Given, listening: Callable[..., socket.socket]) -> None:
    for host in ("127.0.0.1", "::1", "0.0.0.0"):  # noqa: S104  # in a test, for a moment
        said = announcement(given(), listening(host), KEY)
        assert msgspec.json.decode(encode(said), type=Announcement) == said
