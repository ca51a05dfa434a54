"""The output of the log: a thread writes the lines, so that the server never waits for a reader."""

import fcntl
import io
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.support.processes import PATIENCE

from synkora.app.logs import output as output_module
from synkora.app.logs.output import Output

MOST = 10_000  # bytes
PAGE = 4096  # bytes
LINE = "x" * 99


class Pipe:
    """A pipe of the smallest size that the kernel makes (one page), and the output that writes into the pipe."""

    def __init__(self) -> None:
        ours, theirs = os.pipe()
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, PAGE)
        self.reader = os.fdopen(ours, "rb")
        self.writer = os.fdopen(theirs, "w")
        self.output = Output(self.writer, told, most=MOST)

    def read(self, lines: int) -> list[bytes]:
        return [self.reader.readline().removesuffix(b"\n") for _ in range(lines)]

    def close(self) -> None:
        self.reader.close()
        assert self.output.close(PATIENCE)
        self.writer.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def told(lost: int) -> str:
    return f"lost: {lost}"


def test_lines_keep_their_order(pipe: Pipe) -> None:
    for number in range(50):
        pipe.output.write(f"line {number}")
    assert pipe.read(50) == [b"line %d" % number for number in range(50)]
    assert pipe.output.lost == 0


def test_unread_lines_are_bounded_and_counted_and_reported(pipe: Pipe) -> None:
    """Lines above the bound are dropped. When the reader is back, a line gives their number."""
    for _ in range(1000):
        pipe.output.write(LINE)
    lost = pipe.output.lost
    assert 1000 - (MOST + PAGE) // 100 - 1 <= lost <= 1000 - MOST // 100
    assert pipe.read(1000 - lost) == [LINE.encode()] * (1000 - lost)
    assert pipe.read(1) == [b"lost: %d" % lost]
    pipe.output.write("after")
    assert pipe.read(1) == [b"after"]
    assert pipe.output.lost == lost


def test_a_line_larger_than_the_bound_is_lost(pipe: Pipe) -> None:
    pipe.output.write("x" * MOST)
    assert pipe.read(1) == [b"lost: 1"]


def test_a_pipe_that_is_set_non_blocking_loses_nothing(pipe: Pipe) -> None:
    """Another program that shares the output may do so. The thread waits as before."""
    os.set_blocking(pipe.writer.fileno(), False)
    for _ in range(MOST // 100):
        pipe.output.write(LINE)
    assert pipe.read(MOST // 100) == [LINE.encode()] * (MOST // 100)
    assert pipe.output.lost == 0


def test_closing_waits_for_the_lines(pipe: Pipe) -> None:
    """The reader has all lines that fit when `close` returns."""
    pipe.output.write("last")
    assert pipe.output.close(PATIENCE)
    os.set_blocking(pipe.reader.fileno(), False)
    assert os.read(pipe.reader.fileno(), 100) == b"last\n"


def test_closing_does_not_wait_for_ever(pipe: Pipe) -> None:
    for _ in range(1000):
        pipe.output.write(LINE)
    assert not pipe.output.close(0.01)


def test_a_full_disk_costs_only_the_lines() -> None:
    """Lost lines are counted, and the next lines are tried again."""
    with open("/dev/full", "w") as full:  # any write fails: no space
        output = Output(full, told)
        for number in range(3):
            output.write("x")
            assert output.close(PATIENCE)
            assert output.lost == number + 1


def test_a_stream_without_a_descriptor_is_written_to_at_once() -> None:
    """An application may have replaced standard output, or there may be none."""
    stream = io.StringIO()
    Output(stream, told).write("Ève\ud800")
    assert stream.getvalue() == "Ève\ud800\n"
    Output(None, told).write("x")


def test_another_process_has_a_thread_of_its_own() -> None:
    """After a fork, both processes write, and no line is written twice."""
    script = (
        "import os, sys; from synkora.app.logs.output import Output\n"
        "output = Output(sys.stdout, str)\n"
        "output.write('before'); output.close(10)\n"
        "child = os.fork()\n"
        "output.write('parent' if child else 'child'); output.close(10)\n"
        "if child: os.waitpid(child, 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30)
    assert sorted(done.stdout.split()) == [b"before", b"child", b"parent"]
    assert done.returncode == 0


def test_lines_of_a_program_that_ends_are_written() -> None:
    """Without `close`: the queue is drained at exit."""
    script = "import sys; from synkora.app.logs.output import Output\nOutput(sys.stdout, str).write('x' * 200_000)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30)
    assert len(done.stdout) == 200_001


def test_writes_to_a_pipe_are_whole_lines_of_at_most_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the lines of several workers do not mix in one pipe. A longer line is one write."""
    writes: list[bytes] = []

    def write(_: int, data: memoryview) -> int:
        writes.append(bytes(data))
        return len(data)

    monkeypatch.setattr(os, "write", write)
    lines = [b"%0*d\n" % (size, size) for size in [999] * 9 + [9_999, 10]]
    assert output_module._write(1, lines) == len(lines)
    assert b"".join(writes) == b"".join(lines)
    assert [len(each) for each in writes] == [4000, 4000, 1000, 10_000, 11]
