"""The parent of the workers: it opens the sockets, starts the workers, replaces them, and stops them."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from synkora.app.listening import open_shared_sockets
from synkora.app.logs.configure import configure_logs, standard_output
from synkora.app.settings import Settings
from synkora.app.workers.client_count import ClientCounts
from synkora.app.workers.private_redis import NOT_INSTALLED, PrivateRedis, PrivateRedisFailed, find_program
from synkora.app.workers.seat import Seat
from synkora.serving.systemd import notify

_LONG: Final = 10.0  # seconds: a process that ends sooner has failed to start, and the next one waits
_FIRST_PAUSE: Final = 0.5  # seconds
_LONGEST_PAUSE: Final = 30.0
_DOUBLINGS: Final = 10  # more than it takes from the first to the longest
_SLACK: Final = 10.0  # seconds: a worker that takes longer than its settings allow is killed
_SAME_SIGTERM: Final = 2.0  # seconds: as a single server counts them
_STDIN: Final = 0
_LONGEST_FOLDER: Final = 80  # bytes: a Unix socket's path has 107 (unix(7))

log = structlog.get_logger(__name__)


def run_workers(settings: Settings, count: int) -> int:
    """Serve with `count` workers until SIGINT or SIGTERM, and return the exit status.

    Exits with 1 and a line on stderr if it cannot listen.
    """
    output = standard_output(settings.log_format)
    configure_logs(settings.log_level, settings.log_format, output=output)
    sockets = open_shared_sockets(settings, count)
    try:
        return asyncio.run(Parent(settings, count, sockets).run())
    except OSError as error:
        print(f"The server cannot run: {error}", file=sys.stderr)
        return 1


class _Worker:
    """A process with its connection to the parent."""

    def __init__(self, number: int, slot: int, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.number = number
        self.slot = slot
        self.process = process
        self.started = time.monotonic()
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()  # False: it ended before
        self.ended = asyncio.Event()
        self.is_leaving = False
        self.is_awaited = False  # whether the end before `ready` is noticed by the code that awaits it
        self._control = control

    @property
    def is_serving(self) -> bool:
        return self.ready.done() and self.ready.result() and not (self.is_leaving or self.ended.is_set())

    def tell(self, order: str) -> None:
        """Send an order: see `worker.Orders`."""
        with suppress(OSError):  # it has ended, which `ended` tells
            self._control.send(order.encode())

    def close(self) -> None:
        self._control.close()


class Parent:
    """Runs `count` workers until a signal. `run` returns the exit status.

    The listening sockets, one group for each number, stay open here: what the kernel has queued for a worker that has
    ended is not lost. If there is a single group, all workers accept from it.
    """

    def __init__(self, settings: Settings, count: int, sockets: list[list[socket.socket]]) -> None:
        self._settings = settings
        self._count = count
        self._sockets = sockets
        self._folder = _make_folder()
        self._counts = ClientCounts.create(self._folder, 2 * count)
        self._redis: PrivateRedis | None = None
        self._workers: set[_Worker] = set()
        self._failures = [0] * count  # of processes that ended soon after their start
        self._tasks: set[asyncio.Task[None]] = set()
        self._started_at = time.time()
        self._stop = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None
        self._is_reload_wanted = False
        self._reloading: asyncio.Task[None] | None = None
        self._signals: list[int] = []
        self._signalled_at = float("-inf")

    async def run(self) -> int:
        """Serve, and return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._take_signal, number)
        try:
            if not await self._start():
                return 1
            if not os.isatty(_STDIN):
                loop.add_signal_handler(signal.SIGHUP, self._want_reload)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # an earlier SIGHUP is delivered now
            await self._stop.wait()
            notify("STOPPING=1")
            return await self._end()
        finally:
            self._kill()

    # Starting

    async def _start(self) -> bool:
        """Start Redis and the workers; return whether they serve."""
        if self._settings.redis_url is None:
            program = find_program()
            if program is None:
                print(NOT_INSTALLED, file=sys.stderr)
                return False
            self._redis = PrivateRedis(program, self._folder)
            try:
                self._watch_redis(await self._redis.start())
            except PrivateRedisFailed as error:
                print(error, file=sys.stderr)
                return False
        # The first one alone: what keeps it from starting is reported once.
        first = self._spawn(0)
        if not await self._await_ready(first):
            return self._stop.is_set()
        others = [self._spawn(number) for number in range(1, self._count)]
        are_ready = await asyncio.gather(*map(self._await_ready, others))
        if not all(are_ready):
            return self._stop.is_set()
        first.tell("greet")
        notify("READY=1")
        return True

    async def _await_ready(self, worker: _Worker) -> bool:
        """Wait until a worker serves; return False if it has ended instead, or if all are to stop."""
        worker.is_awaited = True
        stopped = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((worker.ready, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        worker.is_awaited = False
        is_ready = worker.ready.done() and worker.ready.result()
        if not (is_ready or self._stop.is_set() or worker.process.returncode == 1):  # with 1, it has said why
            log.error("worker_ended", worker=worker.number, reason=_reason(worker.process.returncode))
        return is_ready

    def _spawn(self, number: int) -> _Worker:
        """Start a process with this number."""
        taken = {worker.slot for worker in self._workers}
        slot = next(slot for slot in (number, number + self._count) if slot not in taken)
        self._counts.slots[slot] = 0
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            seat = Seat(
                number=number,
                slot=slot,
                count=self._count,
                folder=str(self._folder),
                control=theirs.fileno(),
                listening=[[listening.fileno() for listening in group] for group in self._sockets],
                started_at=self._started_at,
                may_drain=self._redis is None,
            )
            environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
            environment |= seat.variables()
            if self._redis is not None:
                environment["REDIS_URL"] = self._redis.url
            process = None
            try:
                process = subprocess.Popen(  # noqa: S603  # this program, as it was started
                    [sys.executable, "-P", "-m", "synkora", *sys.argv[1:]],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    pass_fds=(seat.control, *(descriptor for group in seat.listening for descriptor in group)),
                    process_group=0,  # Ctrl-C is for the parent, which tells the workers
                )
                worker = _Worker(number, slot, process, ours)
                _on_end(process, lambda: self._take_end(worker))
            except OSError:
                ours.close()
                if process is not None:
                    process.kill()
                    process.wait()
                raise
        ours.setblocking(False)
        self._workers.add(worker)
        asyncio.get_running_loop().add_reader(ours, self._hear, worker, ours)
        return worker

    def _hear(self, worker: _Worker, control: socket.socket) -> None:
        """Take a worker's message: it serves."""
        try:
            message = control.recv(100)
        except OSError:
            message = b""
        if not message:  # the process ends
            asyncio.get_running_loop().remove_reader(control)
        elif not worker.ready.done():
            worker.ready.set_result(True)
            self._share_out()

    def _share_out(self) -> None:
        """Let the workers that serve accept from the sockets of numbers without one, too."""
        serving = [each for each in self._workers if each.is_serving]
        missing = set(range(len(self._sockets))) - {worker.number for worker in serving}
        for worker in serving:
            worker.tell(" ".join(("cover", *map(str, sorted(missing)))))

    # Replacing

    def _take_end(self, worker: _Worker) -> None:
        """Replace a process that has ended without an order."""
        self._workers.discard(worker)
        worker.close()
        worker.ended.set()
        self._counts.slots[worker.slot] = 0
        self._share_out()
        if not worker.ready.done():
            worker.ready.set_result(False)
            if worker.is_awaited:
                return
        if self._stop.is_set() or worker.is_leaving:
            return
        if time.monotonic() - worker.started < _LONG:
            self._failures[worker.number] += 1
        else:
            self._failures[worker.number] = 0
        pause = _pause(self._failures[worker.number])
        words = f"{_reason(worker.process.returncode)}; another one starts {f'in {pause:g} s' if pause else 'now'}"
        log.error("worker_ended", worker=worker.number, reason=words)
        self._task(self._replace(worker.number, pause))

    async def _replace(self, number: int, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            if not all(worker.is_leaving for worker in self._workers if worker.number == number):
                return
            if self._try_to_spawn(number) is not None:
                return
            pause = min(2 * pause or _FIRST_PAUSE, _LONGEST_PAUSE)

    def _try_to_spawn(self, number: int) -> _Worker | None:
        """Start a process with this number; log why the system does not allow that."""
        try:
            return self._spawn(number)
        except OSError as error:
            log.error("worker_not_started", worker=number, problem=str(error))
            return None

    def _want_reload(self) -> None:
        self._is_reload_wanted = True
        if self._reloading is None or self._reloading.done():
            self._reloading = self._task(self._reload())

    async def _reload(self) -> None:
        """Replace all workers, also by newer settings, certificates and code.

        The new ones start one after the other. When all serve, the old ones stop accepting connections, and leave one
        after the other. So each client reconnects once, and to a new worker, and the new workers share them evenly.
        """
        while self._is_reload_wanted:
            self._is_reload_wanted = False
            new = await self._start_others()
            if new is None:
                continue
            old = sorted(self._workers - new, key=lambda worker: worker.number)
            for worker in old:
                worker.is_leaving = True
                worker.tell("close")
            for worker in old:
                worker.tell("leave")
                await self._await_end(worker, self._settings.shutdown_drain)
            log.info("reloaded", text=f"Workers replaced: {self._count}")

    async def _start_others(self) -> set[_Worker] | None:
        """Start a second worker for each number; return None if one does not start, when all of them have ended."""
        new: set[_Worker] = set()
        for number in range(self._count):
            worker = self._try_to_spawn(number)
            if worker is not None:
                new.add(worker)
            if worker is None or not await self._await_ready(worker) or any(each.ended.is_set() for each in new):
                log.error("not_reloaded", problem="a new worker does not start; the old workers stay")
                for each in new:
                    each.is_leaving = True
                    each.tell("leave")
                for old_number in range(self._count):
                    self._task(self._replace(old_number, _FIRST_PAUSE))  # an old one may have ended meanwhile
                # Until then they have the slots that the workers of another reload need.
                await asyncio.gather(*(self._await_end(each, self._settings.shutdown_drain) for each in new))
                return None
        return new

    # The private Redis

    def _watch_redis(self, process: subprocess.Popen[bytes]) -> None:
        started = time.monotonic()
        _on_end(process, lambda: self._take_redis_end(process, started))

    def _take_redis_end(self, process: subprocess.Popen[bytes], started: float) -> None:
        if self._stop.is_set():
            return
        pause = 0.0 if time.monotonic() - started > _LONG else _FIRST_PAUSE
        log.error("private_redis_ended", reason=_reason(process.returncode))
        self._task(self._restart_redis(pause))

    async def _restart_redis(self, pause: float) -> None:
        while self._redis is not None:
            await asyncio.sleep(pause)
            try:
                self._watch_redis(await self._redis.start())
            except PrivateRedisFailed as error:
                pause = min(2 * pause or _FIRST_PAUSE, _LONGEST_PAUSE)
                log.error("private_redis_failed", problem=str(error))
            else:
                return

    # Stopping

    def _take_signal(self, number: int) -> None:
        """Stop; on a further signal cut the drain short, or else end immediately."""
        now = time.monotonic()
        if number == signal.SIGTERM and now - self._signalled_at < _SAME_SIGTERM:
            return
        self._signalled_at = now
        self._signals.append(number)
        if not self._stop.is_set():
            self._stop.set()
            return
        if self._draining is not None:
            self._draining.cancel()
        for worker in self._workers:
            worker.tell("stop 0")
            worker.tell("hurry")

    async def _end(self) -> int:
        """Drain the workers if other servers share their Redis, and stop them."""
        for task in self._tasks:
            task.cancel()
        workers = sorted(self._workers, key=lambda worker: worker.number)
        if self._redis is None:
            self._draining = asyncio.create_task(self._drain(workers, self._settings.shutdown_drain))
            await asyncio.wait((self._draining,))
        for worker in workers:
            worker.tell("stop 0")
        await asyncio.gather(*(self._await_end(worker) for worker in workers))
        is_clean = all(worker.process.returncode == 0 for worker in workers)
        log.info("stopped")
        return 0 if is_clean else 128 + self._signals[-1]

    async def _drain(self, workers: Sequence[_Worker], seconds: float) -> None:
        """Let the clients go to other servers, worker by worker, evenly over `seconds`. No worker takes new clients."""
        for worker in workers:
            worker.tell("refuse")
        end = time.monotonic() + seconds
        for place, worker in enumerate(workers):
            clients = [1 + self._counts.slots[each.slot] for each in workers[place:]]
            share = max(end - time.monotonic(), 0) * clients[0] / sum(clients)
            worker.tell(f"stop {share:.3f}")
            with suppress(TimeoutError):
                async with asyncio.timeout(share):
                    await worker.ended.wait()

    async def _await_end(self, worker: _Worker, drain: float = 0) -> None:
        """Wait for the end of a worker, and kill one that takes too long."""
        try:
            async with asyncio.timeout(drain + self._settings.shutdown_timeout + _SLACK):
                await worker.ended.wait()
        except TimeoutError:
            log.error("worker_killed", worker=worker.number)
            worker.process.kill()
            await worker.ended.wait()

    def _kill(self) -> None:
        """End what is left, and remove the folder."""
        for worker in list(self._workers):
            worker.process.kill()
            worker.process.wait()
        if self._redis is not None:
            self._redis.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _task(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _on_end(process: subprocess.Popen[bytes], then: Callable[[], None]) -> None:
    """Call `then` when a process has ended, with its exit status."""
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(process.pid)

    def ended() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        process.wait()
        then()

    loop.add_reader(descriptor, ended)


def _pause(failures: int) -> float:
    """Return the seconds before the next start, after so many processes that ended soon after their start."""
    return min(_FIRST_PAUSE * 2 ** min(failures - 2, _DOUBLINGS), _LONGEST_PAUSE) if failures > 1 else 0.0


def _reason(status: int) -> str:
    """Return why a process has ended, in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _make_folder() -> Path:
    """Make a folder that only this user can enter; also where the file system is read-only, as in a container."""
    problem: OSError | None = None
    for parent in (os.environ.get("RUNTIME_DIRECTORY"), os.environ.get("XDG_RUNTIME_DIR"), "/tmp", "/dev/shm"):  # noqa: S108  # mkdtemp is safe there
        if not parent or len(os.fsencode(parent)) > _LONGEST_FOLDER:
            continue
        try:
            return Path(tempfile.mkdtemp(prefix="synkora-", dir=parent))
        except OSError as error:
            problem = error
    raise OSError(f"no folder for the workers' sockets: {problem}")
