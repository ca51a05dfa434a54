"""The server as its users start it: a process of its own, configured by its environment."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil
from tests.end_to_end.people import ISSUED, SECRET
from tests.support.forks import Fork
from tests.support.processes import PATIENCE

_PORT = re.compile(r'(?:Server running on port: |"event":"started","instanceId":"[A-Za-z0-9]+","port":)(\d+)')


class ServerProcess:
    """`synkora serve`, and what it writes; `variables` are its settings, besides a secret, loopback and a free port."""

    def __init__(self, folder: Path, **variables: str) -> None:
        given = {"NEXTAUTH_SECRET": SECRET, "WS_HOST": "127.0.0.1", "WS_PORT": "0", **variables}
        # The folder has no .env.local.
        self.process = Fork(["serve"], folder, {"PATH": os.environ["PATH"], **given})
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._changed = threading.Condition()
        self._ended = 0
        self._is_signalled = False
        self._pipes = ((self.process.stdout, self.stdout), (self.process.stderr, self.stderr))
        self._readers = [threading.Thread(target=self._read, args=pipe) for pipe in self._pipes]
        for reader in self._readers:
            reader.start()
        try:
            found = _PORT.search(self.wait_for_line(lambda line: _PORT.search(line) is not None))
        except AssertionError:
            self.kill()
            raise
        assert found is not None
        self.port = int(found[1])

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """All that it has written so far."""
        return "\n".join([*self.stdout, *self.stderr])

    @property
    def rss(self) -> int:
        """Its resident memory in bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def _read(self, pipe: IO[str], lines: list[str]) -> None:
        for line in pipe:
            with self._changed:
                # Only \n ends a line here: whatever else might look like an end of line is to be seen.
                lines.append(line.removesuffix("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended += 1
            self._changed.notify_all()

    def wait_for_line(self, wanted: Callable[[str], bool]) -> str:
        """The first line of standard output that is `wanted`; fails if none comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or any(map(wanted, self.stdout)), PATIENCE)
            found = next(filter(wanted, self.stdout), None)
        assert found is not None, f"no such line in:\n{self.output}"
        return found

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal."""
        self._is_signalled = True
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; return its exit code. Fails if it does not end, or has written a secret."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not stop:\n{self.output}") from None
        self._finish()
        leaked = [text for text in (SECRET, *ISSUED) if text in self.output]
        assert not leaked, f"the server wrote a secret: {leaked}"
        assert "library_error" not in self.output, self.output  # a task or a callback has failed unseen
        return code

    def stop(self) -> int:
        """Have it stop as a service manager does; return its exit code."""
        if self.process.poll() is None and not self._is_signalled:
            self.signal()
        return self.wait()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        self._finish()

    def _finish(self) -> None:
        for reader in self._readers:
            reader.join()
        for pipe, _ in self._pipes:
            pipe.close()
