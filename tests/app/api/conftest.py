import pytest
from tests.app.api.backend import Backend


@pytest.fixture
def backend() -> Backend:
    return Backend()
