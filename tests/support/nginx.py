"""nginx with the project's own configuration, as a process that is stopped by its id."""

import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from tests.support.processes import PATIENCE, free_port

CONFIGURATION: Final = Path(__file__).parents[2] / "deploy" / "nginx" / "synkora.conf"
#: The one for sites with Node.js servers among the instances.
WITH_NODEJS: Final = CONFIGURATION.with_name("synkora-with-nodejs.conf")
#: The instances' ports in the configurations, and their names in `WITH_NODEJS`.
INSTANCES: Final = {"a": 3001, "b": 3002, "c": 3003}
_APP: Final = 3000
_WORKERS: Final = 2
# The rest of nginx.conf, for a process without rights that writes only into its own folder.
_AROUND: Final = """\
daemon off;
worker_processes {workers};
pid {folder}/pid;
error_log {folder}/error.log notice;
events {{ worker_connections 1024; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/synkora.conf;
}}
"""


class Nginx:
    """Listens on a free port of the loopback address.

    `app` is the port of the web app; `change` makes changes of the `configuration` besides ports.
    """

    def __init__(self, app: int, change: Callable[[str], str], configuration: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="synkora-nginx-"))
        self.folder.chmod(0o755)  # where the tests are run by root its workers are not
        self.port = free_port()
        self._app = app
        self._change = change
        self._configuration = configuration
        self._process: subprocess.Popen[bytes] | None = None
        self._binary = shutil.which("nginx") or "/usr/sbin/nginx"
        (self.folder / "nginx.conf").write_text(_AROUND.format(folder=self.folder, workers=_WORKERS))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "error.log").read_text()

    def configure(self, instances: Sequence[int]) -> None:
        """Write the configuration for instances on these ports, and let nginx check it.

        If they are fewer than in the file, only the lines of the first ones remain.
        """
        text = self._configuration.read_text()
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.port};").replace(f":{_APP};", f":{self._app};")
        ports = dict(zip(INSTANCES, instances, strict=False))
        for name, port in INSTANCES.items():
            if name in ports:
                text = re.sub(rf":{port}\b", f":{ports[name]}", text)
            else:
                text = re.sub(rf"^.*(?::{port}\b|\bsynkora_{name}\b).*\n", "", text, flags=re.MULTILINE)
        (self.folder / "synkora.conf").write_text(self._change(text))
        checked = subprocess.run([*self._command, "-t"], capture_output=True, encoding="utf-8", timeout=PATIENCE)
        assert checked.returncode == 0, checked.stderr

    @property
    def _command(self) -> list[str]:
        return [self._binary, "-p", str(self.folder), "-e", str(self.folder / "error.log"), "-c", "nginx.conf"]

    def start(self) -> Self:
        (self.folder / "error.log").unlink(missing_ok=True)
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait_for("start worker process ", _WORKERS)
        return self

    def reload(self) -> None:
        """Reload its configuration as `nginx -s reload` does, and wait until only new workers answer."""
        assert self._process is not None
        before = self.log.count("gracefully shutting down")
        self._process.send_signal(signal.SIGHUP)
        self._wait_for("gracefully shutting down", before + _WORKERS)

    def _wait_for(self, words: str, times: int) -> None:
        until = time.monotonic() + PATIENCE
        log = self.folder / "error.log"
        while not log.exists() or self.log.count(words) < times:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            assert time.monotonic() < until, f"no {words!r} in:\n{self.log}"
            time.sleep(0.005)

    def remove(self) -> None:
        """Stop it with all of its workers, and remove its files. Fails if it had errors, or buffered in files."""
        log = ""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE)
            log = self.log
        shutil.rmtree(self.folder)
        # Workers that are still to end after a reload are alarmed by being ended at once.
        assert not re.search(r"\[(?:crit|emerg)\]|exited on signal|temporary file", log), log


@contextmanager
def running_nginx(
    instances: Sequence[int],
    *,
    app: int = 9,
    change: Callable[[str], str] = lambda text: text,
    configuration: Path = CONFIGURATION,
) -> Iterator[Nginx]:
    """An nginx in front of instances on these ports, for the length of a `with` block.

    Behind `CONFIGURATION` the instances have one REDIS_URL, if there are several.
    """
    server = Nginx(app, change, configuration)
    try:
        server.configure(instances)
        yield server.start()
    finally:
        server.remove()
