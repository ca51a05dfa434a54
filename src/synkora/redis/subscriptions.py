"""The channels that this instance wants to hear, and those of which Redis has been told."""

from collections.abc import Callable, Mapping

Receiver = Callable[[bytes], None]


class Subscriptions:
    """Each channel's receiver, and what is still to be said to Redis.

    New channels must be asked for before the next command. Old ones can wait for the end of the turn, since their
    messages reach nobody; one that is wanted again by then was never given up.
    """

    def __init__(self) -> None:
        self._receivers: dict[bytes, Receiver] = {}
        self._told: set[bytes] = set()
        # As dictionaries they keep the order in which channels came.
        self.new: dict[bytes, None] = {}
        self._old: dict[bytes, None] = {}

    @property
    def receivers(self) -> Mapping[bytes, Receiver]:
        """Who receives each channel's messages, at any time."""
        return self._receivers

    def add(self, channel: bytes, receive: Receiver) -> None:
        """Want a channel; a receiver that it has is replaced."""
        self._receivers[channel] = receive
        self._old.pop(channel, None)
        if channel not in self._told:
            self.new[channel] = None

    def drop(self, channel: bytes) -> None:
        if self._receivers.pop(channel, None) is not None:
            self.new.pop(channel, None)
            if channel in self._told:
                self._old[channel] = None

    def take_new(self) -> list[bytes]:
        """The channels to subscribe; from now on Redis counts as told."""
        new, self.new = list(self.new), {}
        self._told.update(new)
        return new

    def take_old(self) -> list[bytes]:
        """The channels to unsubscribe; from now on Redis counts as told."""
        old, self._old = list(self._old), {}
        self._told.difference_update(old)
        return old

    def forget_told(self) -> None:
        """Begin with a new connection, which Redis knows nothing of."""
        self._told.clear()
        self._old.clear()
        self.new = dict.fromkeys(self._receivers)
