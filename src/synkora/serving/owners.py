"""The instances that own sessions: an instance's tag is part of the ids of its sessions."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

_TAG: Final = re.compile(r"(?:.*\.)?([A-Za-z0-9]{1,40})\.[^.]*", re.DOTALL)


class Owner(NamedTuple):
    """Where other instances reach an instance.

    `url` has a scheme, `http` or `https`, a host and a port. `key` signs requests to this instance. `certificate` is
    the SHA-256 of its certificate in hexadecimal digits, if it has one of its own.
    """

    tag: str
    url: str
    key: bytes
    certificate: str = ""


class Owners(Protocol):
    """The other instances that are known to live. The callbacks in `on_gone` get the tag of one that has ended."""

    on_gone: list[Callable[[str], None]]

    def find(self, tag: str) -> Owner | None:
        """Return the instance with this tag; None if there is none."""
        ...


def tag_of(sid: str) -> str | None:
    """Return the tag in a session's id: what stands before the last dot, behind the dot before."""
    found = _TAG.fullmatch(sid)
    return None if found is None else found[1]
