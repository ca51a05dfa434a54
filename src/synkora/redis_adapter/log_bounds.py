"""How much a log keeps. Servers write it into the log: it holds for emitters too, whatever their settings are."""

from math import ceil
from typing import Final

from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis_adapter.log_keys import LogKeys

_FIELD: Final = "bounds"  # of the log, with the numbers of `_NAMES`
_NAMES: Final = ("max_age", "room_events", "room_bytes", "total_bytes", "max_rooms")


def bounds_of(settings: RecoverySettings) -> tuple[int, ...]:
    """Return the bounds, `max_age` in ms."""
    values = (getattr(settings, name) for name in _NAMES[1:])
    return ceil(settings.max_age * 1000), *values


def declare(link: Link, keys: LogKeys, settings: RecoverySettings) -> None:
    """Write how much the servers keep."""
    link.call("HSET", link.key(keys.of("log")), _FIELD, " ".join(map(str, bounds_of(settings))))


async def declared(link: Link, keys: LogKeys) -> bytes | None:
    """Return how much the servers keep, or None if none has written it. Raises `LinkDown` and `RedisRefused`."""
    found: bytes | None = await link.call("HGET", link.key(keys.of("log")), _FIELD)
    return found


def differences(settings: RecoverySettings, theirs: bytes) -> str:
    """Return which settings differ from those of the servers, or an empty text."""
    found = zip(_NAMES, bounds_of(settings), map(int, theirs.split()), strict=True)
    scale = {"max_age": 1000}
    return ", ".join(
        f"{name} is {own / scale.get(name, 1):g} here and {other / scale.get(name, 1):g} there"
        for name, own, other in found
        if own != other
    )
