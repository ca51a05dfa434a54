"""The log as JSON, one object a line."""

import json
from typing import Any, Final

import structlog

from synkora.protocol.timestamps import now

_SHOWN: Final = 1000  # characters of one value
_LEVELS: Final = {"exception": "error", "critical": "error"}


def render_json(
    _: Any, method: str, fields: structlog.typing.EventDict, instance_id: str = "", worker: int | None = None
) -> str:
    """Render an entry as an object: time, level, event, instance, worker and fields (a structlog processor).

    Non-ASCII characters are escaped, so that no value can forge a line or move a terminal's cursor.
    """
    error, trace = fields.pop("exc_info", None), fields.pop("exception", None)
    entry = {"timestamp": now(), "level": _LEVELS.get(method, method), "event": fields.pop("event")}
    if instance_id:
        entry["instanceId"] = instance_id
    if worker is not None:
        entry["worker"] = worker
    entry |= {name: _value(value) for name, value in fields.items()}
    if error:
        trace = structlog.processors.format_exc_info(None, method, {"exc_info": error})["exception"]
    if trace:
        entry["exception"] = trace
    return json.dumps(entry, separators=(",", ":"))


def _value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    text = str(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
