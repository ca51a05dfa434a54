from tests.collaboration.conftest import site

__all__ = ["site"]
