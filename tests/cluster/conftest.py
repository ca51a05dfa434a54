"""What the tests of the cluster have: a real Redis, and links to it."""

from tests.support.links import link, make_link, redis
from tests.support.loops import pytest_asyncio_loop_factories

__all__ = ["link", "make_link", "pytest_asyncio_loop_factories", "redis"]
