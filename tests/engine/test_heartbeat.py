from tests.support.servers import until

from synkora.engine.heartbeat import Heartbeat


class Patient:
    def __init__(self) -> None:
        self.pings = 0
        self.timeouts = 0

    def ping(self) -> None:
        self.pings += 1

    def ping_timed_out(self) -> None:
        self.timeouts += 1


async def test_a_client_that_answers_is_pinged_again() -> None:
    heartbeat, patient = Heartbeat(0.01, 60), Patient()
    heartbeat.start(patient)
    for count in (1, 2, 3):
        await until(lambda count=count: patient.pings == count)
        heartbeat.pong(patient)
    heartbeat.cancel()
    assert patient.timeouts == 0


async def test_a_client_that_does_not_answer_times_out_once() -> None:
    """Without a pong there is no second ping, and one timeout."""
    heartbeat, patient = Heartbeat(0.01, 0.02), Patient()
    heartbeat.start(patient)
    await until(lambda: patient.timeouts)
    assert (patient.pings, patient.timeouts) == (1, 1)
    heartbeat.pong(patient)
    assert patient not in heartbeat._pings


async def test_an_unexpected_pong_changes_nothing() -> None:
    """A client cannot delay its next ping by sending pongs."""
    heartbeat, patient = Heartbeat(60, 60), Patient()
    heartbeat.start(patient)
    due = dict(heartbeat._pings._due)
    heartbeat.pong(patient)
    assert heartbeat._pings._due == due
    heartbeat.cancel()


async def test_an_ended_session_is_neither_pinged_nor_timed_out() -> None:
    """Stopped before the ping, or between ping and pong."""
    heartbeat = Heartbeat(0.02, 0.02)
    early, late, other = Patient(), Patient(), Patient()
    for patient in (early, late, other):
        heartbeat.start(patient)
    heartbeat.stop(early)
    await until(lambda: late.pings)
    heartbeat.stop(late)
    await until(lambda: other.timeouts)
    assert (early.pings, early.timeouts, late.timeouts) == (0, 0, 0)


async def test_cancel_drops_all_keys() -> None:
    heartbeat, patient = Heartbeat(60, 60), Patient()
    heartbeat.start(patient)
    heartbeat.cancel()
    assert heartbeat._pings._timer is None
    assert len(heartbeat._pings) == 0
