"""Numbers like in JavaScript: a single type, and written without a fraction if possible."""

from typing import Any, Final

_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1


def number(value: int | float) -> int | float:
    """Return a number for MessagePack: a float beyond 64 bits, and an integer if it has no fraction.

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
    """Return the number of a JSON text with a fraction or an exponent."""
    return number(float(text))


def normalize(value: Any) -> Any:
    """Return a value with `number` applied to each number in it."""
    if isinstance(value, dict):
        return {key: normalize(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [normalize(item) for item in value]
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
