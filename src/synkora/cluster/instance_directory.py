"""The addresses at which the other instances are reached, from their reports."""

from collections.abc import Callable, Collection
from typing import Annotated

import msgspec

from synkora.serving.owners import Owner


class Announcement(msgspec.Struct):
    """Where other instances reach an instance, and the key that signs requests to it, in hexadecimal digits.

    `url` has a scheme, a host and a port. `certificate` is the SHA-256 of its certificate, or empty.
    """

    url: Annotated[str, msgspec.Meta(pattern=r"\Ahttps?://[^/\s]+:\d{1,5}\Z", max_length=300)]
    key: Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{2}){32}\Z")]
    certificate: Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{64})?\Z")] = ""


class InstanceDirectory:
    """The live other instances that have announced how they are reached, by their ids: an `Owners`."""

    def __init__(self) -> None:
        self.on_gone: list[Callable[[str], None]] = []
        self._owners: dict[str, Owner] = {}

    @property
    def tags(self) -> Collection[str]:
        """The ids of the instances."""
        return self._owners.keys()

    def find(self, tag: str) -> Owner | None:
        """Return the instance with this id; None if there is none."""
        return self._owners.get(tag)

    def set(self, instance: str, announcement: Announcement | None) -> None:
        """Note what an instance has announced."""
        if announcement is None:
            self.remove(instance)
            return
        key = bytes.fromhex(announcement.key)
        self._owners[instance] = Owner(instance, announcement.url, key, announcement.certificate)

    def remove(self, instance: str) -> None:
        """Forget an instance that has ended."""
        if self._owners.pop(instance, None) is not None:
            for told in list(self.on_gone):
                told(instance)
