"""Calls that tests look at."""

from types import ModuleType
from typing import Any

import pytest


def first_arguments(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[Any]:
    """Return a list that gets the first argument of each call of the function that `module` knows as `name`."""
    found: list[Any] = []
    function = getattr(module, name)

    def recorded(first: Any, *others: Any, **options: Any) -> Any:
        found.append(first)
        return function(first, *others, **options)

    monkeypatch.setattr(module, name, recorded)
    return found
