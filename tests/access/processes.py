"""The database and the web app, as processes that are stopped by their ids."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from tests.access.world import SECRET, World
from tests.support.processes import PATIENCE, free_port

_HERE = Path(__file__).parent


class App:
    """The web app, which answers for the world that it is given, and serves the pages that are built in `pages`."""

    def __init__(
        self, folder: Path, *, version: str = "v4", cookie: str = "next-auth.session-token", pages: Path | None = None
    ) -> None:
        self.version = version
        self.cookie = cookie
        self.pages = pages
        self.port = 0
        self.tls: dict[str, str] | None = None
        self._world = folder / "world.json"
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def show(self, world: World) -> None:
        new = self._world.with_suffix(".new")
        new.write_text(world.json(), encoding="utf-8")
        new.replace(self._world)

    def start(self) -> None:
        options: dict[str, Any] = {"world": str(self._world), "secret": SECRET, "port": self.port, "tls": self.tls}
        options |= {"version": self.version, "cookie": self.cookie}
        if self.pages is not None:
            options["pages"] = str(self.pages)
        self._process = subprocess.Popen(
            ["node", _HERE / "app.mjs", json.dumps(options)], stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class Postgres:
    """A database server with the app's tables, over TCP on the loopback address and over a Unix socket."""

    user = "app"
    password = "p@ss:w/o?r#d%"  # must be escaped in a URL

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="synkora-pg-"))
        self._data = self.folder / "data"
        # PostgreSQL does not run as root.
        self._account: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = _account()
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self.port = free_port()
        self._process: subprocess.Popen[Any] | None = None
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        password_file.chmod(0o644)
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", f"--pwfile={password_file}"]
        subprocess.run(
            [find_program("initdb"), f"--pgdata={self._data}", f"--username={self.user}", *options],
            cwd=self.folder,
            check=True,
            capture_output=True,
            timeout=PATIENCE,
            **self._account,
        )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres", parameters: str = "", *, host: str = "127.0.0.1") -> str:
        return f"postgresql://{self.user}:{quote(self.password, safe='')}@{host}:{self.port}/{database}{parameters}"

    def start(self) -> None:
        listen = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder)]
        log = self.folder / "log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [find_program("postgres"), "-D", str(self._data), "-F", *listen],
                cwd=self.folder,
                stdout=output,
                stderr=output,
                **self._account,
            )
        self._process = process
        until = time.monotonic() + PATIENCE
        while not self._is_ready():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, "the database does not start"
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(PATIENCE)
            self._process = None

    def kill(self) -> None:
        """Kill the server, with all connections."""
        assert self._process is not None
        for process in self._processes():
            process.kill()
        self._process.wait(PATIENCE)
        self._process = None

    def freeze(self) -> None:
        """Stop all processes, which keep their connections."""
        for process in self._processes():
            process.suspend()

    def thaw(self) -> None:
        for process in self._processes():
            process.resume()

    def _processes(self) -> list[psutil.Process]:
        server = psutil.Process(self.pid)
        return [server, *server.children(recursive=True)]

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _is_ready(self) -> bool:
        ready = subprocess.run(
            [find_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], timeout=PATIENCE
        )
        return ready.returncode == 0


def find_program(name: str) -> str:
    """Return the path of a PostgreSQL program: Debian keeps each version in its own folder, outside of PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    found = shutil.which(name, path=os.pathsep.join([*map(str, reversed(folders)), os.environ["PATH"]]))
    assert found is not None, f"{name} is missing: install PostgreSQL (Debian: apt install postgresql)"
    return found


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
