"""Checks of `STATE_DIR`, the folder in which sessions and kept edits outlive the process."""

import os
import stat
from pathlib import Path
from typing import Final

from synkora.app.check.finding import Finding, risky, skipped, well, wrong
from synkora.app.settings import Settings
from synkora.app.workers.count import worker_count

_NAME: Final = "state"


def check_state_folder(settings: Settings) -> list[Finding]:
    """Check that this user can write into `STATE_DIR`, and that no other user can read it. Writes nothing."""
    folder = settings.state_dir
    if settings.redis_url is not None:
        return [skipped(_NAME, "REDIS_URL is set: sessions and kept edits are in Redis")]
    if worker_count(settings.workers) > 1:
        return [skipped(_NAME, "there are several workers: sessions and kept edits are in their Redis")]
    if not settings.recovery:
        return [skipped(_NAME, "with RECOVERY=false nothing is kept")]
    if folder is None:
        return [skipped(_NAME, "STATE_DIR is not set: no client is recovered after a restart")]
    if not folder.exists():
        parent = next(parent for parent in folder.absolute().parents if parent.exists())
        if not _is_usable(parent):
            return [wrong(_NAME, f"STATE_DIR cannot be made in {parent}", _advice(folder))]
        return [well(_NAME, f"{folder} will be made at the first start")]
    if not _is_usable(folder):
        return [wrong(_NAME, f"STATE_DIR is no folder that this user can write into: {folder}", _advice(folder))]
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return [risky(_NAME, f"others can look into {folder}, though not into its files", f"chmod 700 {folder}")]
    return [well(_NAME, f"sessions and kept edits outlive the process in {folder}")]


def _is_usable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)


def _advice(folder: Path) -> str:
    return f"Make {folder} for the user that runs the server, or the server keeps all in memory"
