"""The log in memory, compared with a plain model."""

from tests.contracts.recovery_model import AGING, CROWDED, LogMachine
from tests.support.clocks import Clock

from synkora.recovery.memory import MemoryStore
from synkora.recovery.ports import RecoveryStore


class _Machine(LogMachine):
    def open(self, clock: Clock) -> RecoveryStore:
        return MemoryStore(self.bounds, clock)


TestAging = _Machine.within(AGING)
TestCrowded = _Machine.within(CROWDED)
