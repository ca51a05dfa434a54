"""The names of a log's keys in Redis."""


class LogKeys:
    """The names of a log's keys in Redis. The braces give them one hash slot in a cluster."""

    def __init__(self, prefix: str, namespace: str) -> None:
        self.namespace = namespace
        self._prefix = f"{prefix}{{log:{namespace}}}:"
        self.whole = tuple(map(self.of, ("log", "rooms", "floors", "marks")))  # of all rooms

    def of(self, name: str) -> bytes:
        """`log`, `rooms`, `floors`, `marks`, `large`, `once`."""
        return f"{self._prefix}{name}".encode()

    def room(self, name: str) -> tuple[bytes, bytes]:
        """The stream of a room, and its index.

        The index is a hash with floor, bytes, the number of the last event that was not for members only (`open`), and
        the number of each key's event.
        """
        return (
            f"{self._prefix}stream:{name}".encode(errors="surrogatepass"),
            f"{self._prefix}index:{name}".encode(errors="surrogatepass"),
        )
