"""The log in memory, held against a plain model."""

from tests.contracts.recovery_model import BOUNDS, LogMachine
from tests.support.clocks import Clock

from synkora.recovery.memory import MemoryStore
from synkora.recovery.ports import RecoveryStore


class MemoryLogMachine(LogMachine):
    def open(self, clock: Clock) -> RecoveryStore:
        return MemoryStore(BOUNDS, clock)


TestMemoryLogMachine = MemoryLogMachine.TestCase
