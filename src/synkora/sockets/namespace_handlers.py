"""A namespace whose handlers are the methods of a class."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from synkora.sockets import other_names
from synkora.sockets.namespace import Namespace, Pattern

F = TypeVar("F", bound=Callable[..., Any])

_PREFIX: Final = "on_"
_LIFE: Final = ("on_any", "on_any_outgoing", "on_connect", "on_disconnect", "on_disconnecting", "on_unknown", "use")


def event(name: str, *, ordered: bool = False) -> Callable[[F], F]:
    """Mark a method of `NamespaceHandlers` as the handler of an event, for names such as `board:clear`."""

    def mark(function: F) -> F:
        function._synkora_event = (name, ordered)  # type: ignore[attr-defined]  # read below
        return function

    return mark


_OF_THE_NAMESPACE: Final = {
    each: f"self.namespace.{each}" for each in dir(Namespace) if each[0] != "_" and hasattr(Namespace, each)
}


@other_names.naming({**other_names.METHODS, **_OF_THE_NAMESPACE})
class NamespaceHandlers:
    """A class whose methods are handlers: `on_say` handles the event `say`.

    `on_any`, `on_any_outgoing`, `on_connect`, `on_disconnect`, `on_disconnecting` and `on_unknown` are registered by
    the methods of `Namespace` with these names; a method `use` is middleware.

    `event(name)` marks methods for events with other names. `namespace`, created with `options`, has the handlers;
    `server.add(handlers)` adds the namespace to a server.
    """

    def __init__(self, name: str | Pattern = "/", **options: Any) -> None:
        self.namespace: Final = Namespace(name, **options)
        for method in dir(type(self)):
            if method.startswith("__") or not hasattr(self, method):
                continue
            function = getattr(self, method)
            marked = getattr(function, "_synkora_event", None)
            if marked is not None:
                self.namespace.on(marked[0], function, ordered=marked[1])
            elif method in _LIFE:
                getattr(self.namespace, method)(function)
            elif method.startswith(_PREFIX):
                self.namespace.on(method.removeprefix(_PREFIX), function)
