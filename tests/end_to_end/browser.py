"""Chromium, driven by Playwright."""

import shutil
from typing import Final

from tests.support.node_process import NodeProcess

# The shell draws no windows and tabs: a page costs a third of what it costs in the whole browser.
_PROGRAMS: Final = "chromium-headless-shell", "chromium"


async def start_chromium() -> NodeProcess:
    path = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    assert path is not None, f"install one of {', '.join(_PROGRAMS)}"
    return await NodeProcess.start("remote-browser.mjs", path)
