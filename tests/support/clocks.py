"""Time that tests advance."""

import pytest


class Clock:
    """Seconds, in place of `time.monotonic`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the source modules that the test's module names in `TIMED`."""
    clock = Clock()
    for module in request.module.TIMED:
        monkeypatch.setattr(module, "monotonic", clock)
    return clock
