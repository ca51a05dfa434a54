"""Prometheus' own tool, from the system or from `make promtool`."""

import shutil
import subprocess
import sys
from pathlib import Path


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("promtool") or Path(sys.executable).with_name("promtool")
    return subprocess.run([tool, *arguments], capture_output=True, encoding="utf-8", timeout=60)
