"""The channels that this instance receives, and those that are subscribed in Redis."""

from collections.abc import Callable, Mapping

Receiver = Callable[[bytes], None]


class Subscriptions:
    """Each channel's receiver, and the changes that Redis has yet to get.

    New channels must be subscribed before the next command. An unsubscription can wait for the end of the turn, since
    the messages have no receiver; a channel that is added again by then stays subscribed.
    """

    def __init__(self) -> None:
        self._receivers: dict[bytes, Receiver] = {}
        self._told: set[bytes] = set()
        # Dictionaries, to keep the order of the channels.
        self.new: dict[bytes, None] = {}
        self._old: dict[bytes, None] = {}

    @property
    def receivers(self) -> Mapping[bytes, Receiver]:
        """The current receivers, by channel."""
        return self._receivers

    def add(self, channel: bytes, receive: Receiver) -> None:
        """Add a channel, or replace its receiver."""
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
        """Return the channels to subscribe, and mark them as sent."""
        new, self.new = list(self.new), {}
        self._told.update(new)
        return new

    def take_old(self) -> list[bytes]:
        """Return the channels to unsubscribe, and mark them as sent."""
        old, self._old = list(self._old), {}
        self._told.difference_update(old)
        return old

    def forget_told(self) -> None:
        """Reset the state for a new connection, which has no subscriptions."""
        self._told.clear()
        self._old.clear()
        self.new = dict.fromkeys(self._receivers)
