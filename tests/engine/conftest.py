import pytest
from tests.engine.outboxes import Client

from synkora.engine.outbox import Flusher


@pytest.fixture
def flusher() -> Flusher:
    return Flusher()


@pytest.fixture
def client(flusher: Flusher) -> Client:
    return Client(flusher)


@pytest.fixture
def slow(client: Client) -> Client:
    client.carrier.writable = False
    return client
