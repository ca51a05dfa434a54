"""A server uses the given adapter for everything."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from synkora import Broadcast, SocketServer
from synkora.sockets.adapter import Adapter
from synkora.sockets.local_adapter import LocalAdapter


class Watched:
    """A local adapter that records its calls' keywords."""

    def __init__(self, local: LocalAdapter) -> None:
        self._local = local
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._local, name)

        def call(*args: Any, **keywords: Any) -> Any:
            self.asked.append((name, keywords))
            return method(*args, **keywords)

        return call


class Watching:
    def __init__(self) -> None:
        self.made: dict[str, Any] = {}

    def __call__(self, namespace: str, local: LocalAdapter) -> Adapter:
        made: Any = Watched(local)
        self.made[namespace] = made
        return cast("Adapter", made)


def test_each_namespace_has_an_adapter_of_its_own() -> None:
    watching = Watching()
    server = SocketServer(adapter=watching)
    assert watching.made == {}
    assert server.of("/a")._core.adapter is watching.made["/a"]
    assert server.of("/")._core.adapter is watching.made["/"]
    assert server.of("/a")._core.adapter is watching.made["/a"]
    assert watching.made.keys() == {"/a", "/"}


@pytest.mark.parametrize("is_local", [False, True])
async def test_every_operation_passes_its_selection(is_local: bool) -> None:
    watching = Watching()
    server = SocketServer(adapter=watching)
    everyone: Broadcast = server.local if is_local else server.everyone
    for chosen in (everyone, everyone.to("a").except_("b").volatile):
        chosen.emit("x")
        assert await chosen.call("x", timeout=5) == []
        assert await chosen.fetch_sockets() == []
        chosen.sockets_join("c")
        chosen.sockets_leave("c")
        chosen.disconnect_sockets()
    expected = ["broadcast", "call", "fetch_sockets", "sockets_join", "sockets_leave", "disconnect_sockets"]
    asked = watching.made["/"].asked
    assert [name for name, _ in asked] == expected * 2
    assert all(keywords["local"] is is_local for _, keywords in asked)
