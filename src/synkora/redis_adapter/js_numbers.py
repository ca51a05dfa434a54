"""Numbers as JavaScript has them: of one kind, and written without a fraction where they have none."""

from typing import Any, Final

_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1


def number(value: int | float) -> int | float:
    """The number as MessagePack is to hold it: one beyond 64 bits is a float there, and one without a fraction is not.

    notepack garbles integers beyond 64 bits; a float says what they are, and notepack reads it.
    """
    if isinstance(value, float):
        return int(value) if value.is_integer() and _SMALLEST <= value <= _LARGEST else value
    if _SMALLEST <= value <= _LARGEST:
        return value
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def parse(text: str) -> int | float:
    """The number that JSON with a fraction or an exponent stands for."""
    return number(float(text))


def normalize(value: Any) -> Any:
    """The same value with each number within it as `number` gives it."""
    if isinstance(value, dict):
        return {key: normalize(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [normalize(item) for item in value]
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
