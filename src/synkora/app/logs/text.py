"""The texts of the log's lines, by the name of the event, and their form: no client's data can forge a line."""

from collections.abc import Mapping
from typing import Any, Final

import structlog

_LINES: Final = {
    "client_connected": "✓ Client connected: {socketId} (User: {userName})",
    "client_disconnected": "✗ Client disconnected: {socketId} ({userName}) - {reason}",
    "project_joined": "✓ {userName} joined project {projectId}",
    "project_left": "✓ {userName} left project {projectId}",
    "relayed": "→ {what} in {projectId} by {userName}",
    "incident": "! {what}: {reason}",
    "incidents": "! In the last minute: {counts}",
    "incidents_from": "! In the last minute, from {address}: {counts}",
    "repeated": "! In the last minute, more of the same: {counts}",
    "lines_lost": "! Log lines lost because nothing read them: {lines}",
    "caution": "! {text}",
    "playground": "✓ Playground: {address}",
    "console": "✓ Console: {address}",
    "project_access": "✓ PROJECT_ACCESS={setting}: {text}",
    "integrated": "✓ Synkora WebSocket Server inside this application, at {path}",
    "one_of_several": "✓ One of several instances: {instance}",
    "redis_up": "✓ Redis is connected: {address}",
    "redis_down": "! Redis is unavailable: {problem}",
    "redis_troubled": "! Redis problem: {problem}",
    "events_missed": "! Clients may have missed edits of other instances while Redis was away: {reason}",
    "presence_refused": "! Presence across instances is delayed: {problem}",
    "instance_gone": "! Instance lost without a shutdown: {instance}",
    "owner_lost": "! Another instance cannot be reached: {problem}",
    "owner_refuses": "! Another instance refuses requests of this one: {problem}",
    "hand_over_failed": "! A connection of another worker did not arrive",
    "console_disconnected": "✗ Disconnected from the console: {socketId}, by {address}",
    "console_disconnected_all": "✗ Disconnected from the console, by {address}: all of the {kind} {name}",
    "console_blocked": "✗ Blocked from the console, by {address}: the {kind} {name}, for {seconds} s",
    "console_unblocked": "✓ No longer blocked, by {address}: the {kind} {name}",
    "console_noticed": "→ Notice from the console to project {projectId}, by {address}",
    "outbox_unavailable": "! Outbox is unavailable: {problem}",
    "outbox_available": "✓ Outbox is available",
    "traces_problem": "! Traces: {message}",
    "traces_lost": "! Traces: not all could be exported before the stop",
    "webhook_failed": "! Webhooks failed: {errorType}",
    "webhook_not_received": "! Webhook was not received, and is sent again: {problem}",
    "webhook_received": "✓ Webhooks are received again",
    "webhook_given_up": "! Webhook with {events} events is given up after {attempts} attempts: {problem}",
    "outbox_row_set_aside": "! Outbox: row {row} for project {projectId} is set aside: {problem}",
    "api_published": "→ Published by the API in {projectId}, by {address}: {events}",
    "api_removed": "✗ Removed from project {projectId} by the API, by {address}: {userId}",
    "api_disconnected": "✗ Disconnected by the API, by {address}: {name}",
    "api_blocked": "✗ Blocked by the API, by {address}: the {kind} {name}, for {seconds} s",
    "api_unblocked": "✓ No longer blocked, by the API, by {address}: the {kind} {name}",
    "api_noticed": "→ Notice by the API to project {projectId}, by {address}",
    "admin_ui_connected": "✓ Admin UI connected: {socketId} from {address}",
    "admin_ui_disconnected": "✗ Disconnected from the admin UI: {room} in {namespace}, by {address}",
    "reloaded": "✓ {text}",
    "not_reloaded": "! Not reloaded: {problem}",
    "worker_ended": "! Worker {worker} has ended: {reason}",
    "worker_not_started": "! Worker {worker} cannot be started: {problem}",
    "worker_killed": "! Worker {worker} did not stop in time, and was killed",
    "parent_ended": "! The parent of the workers has ended: this worker stops",
    "private_redis_ended": "! The workers' Redis has ended: {reason}; it is started again",
    "private_redis_failed": "! The workers' Redis cannot be started again: {problem}",
    "draining": "✓ Draining, clients to send elsewhere: {clients}",
    "stopping": "✓ Stopping, clients to tell: {clients}",
    "stopped": "✓ Stopped",
}
_WITHOUT_REASON: Final = {"incident": "! {what}"}
_SHOWN: Final = 200  # characters of one value
_OWN_WORDS: Final = frozenset(("counts", "problem", "text"))  # fields written by the server, and bounded
#: The first sign of a line, and its colour (ECMA-48 section 8.3.117).
_COLORS: Final = {"✓": 32, "→": 36, "✗": 33, "!": 31}
_ERROR: Final = 31


def render_text(_: Any, method: str, fields: structlog.typing.EventDict) -> str:
    """Render an entry as a line, with an error's traceback below it (a structlog processor)."""
    event = str(fields.pop("event"))
    error, trace = fields.pop("exc_info", None), fields.pop("exception", None)
    fields.pop("errorType", None)
    line = _LINES.get(event)
    if fields.get("reason") is None:
        line = _WITHOUT_REASON.get(event, line)
    if event == "incident" and "address" in fields:
        line = f"{line}, from {{address}}"
    if line is not None:
        text = line.format_map(_Printable(fields))
    else:
        text = " ".join([f"{method}: {event}", *(f"{name}={_printable(value)}" for name, value in fields.items())])
    if error:
        trace = structlog.processors.format_exc_info(None, method, {"exc_info": error})["exception"]
    if trace:
        text += "".join(f"\n    {escaped(line)}" for line in str(trace).split("\n"))
    return text


def render_colored(logger: Any, method: str, fields: structlog.typing.EventDict) -> str:
    """Like `render_text`, for a terminal: the sign or level at the start is coloured."""
    sign, blank, rest = render_text(logger, method, fields).partition(" ")
    return f"\x1b[{_COLORS.get(sign, _ERROR)}m{sign}\x1b[0m{blank}{rest}"


def render_numbered(
    render: structlog.typing.Processor, worker: int, logger: Any, method: str, fields: structlog.typing.EventDict
) -> str:
    """Put the number of a worker before its line."""
    return f"[{worker}] {render(logger, method, fields)!s}"


class _Printable(dict[str, str]):
    """Fields as text that cannot forge a line or move a terminal's cursor."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        super().__init__(
            {name: escaped(str(value)) if name in _OWN_WORDS else _printable(value) for name, value in fields.items()}
        )

    def __missing__(self, key: str) -> str:
        return "?"


def _printable(value: object) -> str:
    text = str(value)
    if len(text) > _SHOWN:
        text = text[:_SHOWN] + "…"
    return escaped(text)


def escaped(text: str) -> str:
    """Return a text with its control characters as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
