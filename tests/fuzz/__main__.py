"""Fuzz all harnesses, or the named ones: `python -m tests.fuzz [NAME …]`. FUZZ_RUNS is the total number of inputs.

Each runs in its own process, with libFuzzer by atheris, from the seeds in corpus/. An input that fails is kept in
build/fuzz and its traceback is shown.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.fuzz.harnesses import HARNESSES, MAX_INPUT, Harness

HERE: Final = Path(__file__).parent
FOUND: Final = Path("build/fuzz")
_DONE: Final = re.compile(r"^Done (\d+) runs", re.MULTILINE)
_DEFAULT_RUNS: Final = 1_000_000
_SHOWN: Final = 4000  # characters
_SLOWEST: Final = 10  # seconds that one input may take


def main(names: Iterable[str]) -> int:
    chosen = [harness for harness in HARNESSES if harness.name in set(names)] or list(HARNESSES)
    shares = sum(harness.share for harness in chosen)
    wanted = int(os.environ.get("FUZZ_RUNS", _DEFAULT_RUNS))
    total, failed = 0, []
    began = time.monotonic()
    for harness in chosen:
        runs, took = _fuzz(harness, -(-wanted * harness.share // shares))
        _say(f"{harness.name:22}{runs:>12,} inputs{took:>8.0f} s")
        total += runs
        if not runs:
            failed.append(harness.name)
    _say(f"{'in all':22}{total:>12,} inputs{time.monotonic() - began:>8.0f} s")
    if failed:
        _say(f"Failed: {', '.join(failed)}. The inputs are in {FOUND}/")
    return 1 if failed else 0


def _fuzz(harness: Harness, runs: int) -> tuple[int, float]:
    """Run one. Returns its number of inputs, 0 after a failure, and the seconds."""
    corpus = FOUND / harness.name
    corpus.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    worker = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.worker", harness.name),
            *(f"-runs={runs}", f"-max_len={MAX_INPUT}", f"-timeout={_SLOWEST}", f"-dict={HERE / 'words.dict'}"),
            *(f"-artifact_prefix={FOUND}/{harness.name}-", corpus, HERE / "corpus" / harness.name),
        ],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    done = _DONE.search(worker.stdout + worker.stderr)
    if worker.returncode or done is None:
        _say(worker.stdout[-_SHOWN:])  # what Python says
        _say(worker.stderr[-_SHOWN:])  # what libFuzzer says
        return 0, time.monotonic() - began
    return int(done[1]), time.monotonic() - began


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
