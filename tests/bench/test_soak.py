"""A long run; here a short one."""

from pathlib import Path

import pytest
from bench.soak import TOLERANCE_MB, Soak, soak
from tests.support.node_process import NodeProcess

pytestmark = pytest.mark.tools


async def test_nothing_is_missed_and_memory_stays_flat(tmp_path: Path) -> None:
    """While clients come and go, and connections of those that stay break."""
    node = await NodeProcess.start("remote-sockets.mjs")
    try:
        figures = await soak(tmp_path, node, Soak(seconds=60))
    finally:
        await node.stop()
    assert figures["violations"] == []
    assert figures["farewells"] == 0
    assert figures["visits"] > 500
    assert figures["returns"] > 8
    assert figures["due"] > 1000
    assert figures["grown_mb"] < TOLERANCE_MB
