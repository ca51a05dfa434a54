"""Time that passes when a test says so."""


class Clock:
    """Seconds, as a test has them pass; it stands in for `time.monotonic`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
