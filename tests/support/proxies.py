"""HAProxy and Caddy with the project's own configurations, as processes that are stopped by their ids."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.processes import PATIENCE, free_port

_DEPLOY: Final = Path(__file__).parents[2] / "deploy"
#: The instances' ports in the configurations.
INSTANCES: Final = (3001, 3002, 3003)
_APP: Final = 3000
#: A port without a listener.
NOBODY: Final = 9

#: Changes of a configuration besides ports; it also gets the address that the proxy listens on.
Change = Callable[[str, str], str]


class Kind(NamedTuple):
    """A proxy: its configuration, its commands to check and run it, and the changes for a test machine."""

    configuration: Path
    check: tuple[str, ...]
    run: tuple[str, ...]
    listen: Change


def _haproxy_listens(text: str, address: str) -> str:
    text = re.sub(r"^    (?:user|group) haproxy\n", "", text, flags=re.MULTILINE)
    return text.replace("bind :80", f"bind {address}")


def _caddy_listens(text: str, address: str) -> str:
    own = "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}\n"
    return own + text.replace("app.example.com {", f"http://{address} {{")


HAPROXY: Final = Kind(
    _DEPLOY / "haproxy" / "haproxy.cfg", ("haproxy", "-c", "-f"), ("haproxy", "-db", "-f"), _haproxy_listens
)
_CADDY: Final = ("--adapter", "caddyfile", "--config")
CADDY: Final = Kind(
    _DEPLOY / "caddy" / "Caddyfile", ("caddy", "validate", *_CADDY), ("caddy", "run", *_CADDY), _caddy_listens
)


@contextmanager
def running_proxy(
    kind: Kind, instances: Sequence[int], *, app: int = NOBODY, change: Change = lambda text, _: text
) -> Iterator[str]:
    """A proxy in front of instances on these ports, in the order of the configuration; its address.

    `app` is the port of the web app. A port without a server may be `NOBODY`.
    """
    folder = Path(tempfile.mkdtemp(prefix="synkora-proxy-"))
    address = f"127.0.0.1:{free_port()}"
    file = folder / kind.configuration.name
    file.write_text(change(kind.listen(_with_ports(kind.configuration.read_text(), instances, app), address), address))
    path = f"{os.environ['PATH']}:/usr/sbin:{Path(sys.executable).parent}"
    environment = {"PATH": path, "HOME": str(folder)}  # where Caddy would keep things
    log = folder / "log"
    try:
        with log.open("wb") as output:
            checked = subprocess.run([*kind.check, file], env=environment, capture_output=True, timeout=PATIENCE)
            assert checked.returncode == 0, checked.stderr.decode()
            process = subprocess.Popen([*kind.run, file], env=environment, stdout=output, stderr=output)
        try:
            _wait_for(address, process, log)
            yield address
        finally:
            process.kill()  # Caddy would wait for polls that hang
            process.wait()
    finally:
        shutil.rmtree(folder)


def _with_ports(text: str, instances: Sequence[int], app: int) -> str:
    for before, port in zip((_APP, *INSTANCES), (app, *instances), strict=True):
        text = re.sub(rf"127\.0\.0\.1:{before}\b", f"127.0.0.1:{port}", text)
    return text


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    host, _, port = address.partition(":")
    until = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection((host, int(port)), PATIENCE).close()
        except ConnectionRefusedError:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.005)
        else:
            return
