"""Chromium, driven by Playwright."""

import shutil
from typing import Final

from tests.end_to_end.node_process import NodeProcess

# The shell has no windows and tabs of its own to draw: a page costs a third of what it costs in the whole browser.
_PROGRAMS: Final = "chromium-headless-shell", "chromium"


async def start_chromium() -> NodeProcess:
    """Start a browser, in which each name has a context of its own."""
    path = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    assert path is not None, f"none of these is installed: {', '.join(_PROGRAMS)}"
    return await NodeProcess.start("remote-browser.mjs", path)
