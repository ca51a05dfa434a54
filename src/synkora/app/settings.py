"""What can be set, by variables of the environment, or of `.env.local` or `.env` in the working folder."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from synkora.app.values import (
    Allowed,
    Flag,
    GracePeriod,
    Host,
    Interval,
    Level,
    Origins,
    OutboxSize,
    Path,
    PayloadSize,
    Port,
    Secret,
    Secrets,
    Threshold,
    Transports,
)

_LONGEST_SHOWN = 100


class SettingsError(Exception):
    """Settings that cannot be used; each of `lines` names a variable and says what is allowed."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Variable(NamedTuple):
    """A variable as the help and the documentation show it; `default` is None where a value is required."""

    name: str
    default: str | None
    description: str


def _unsupported(value: str | None) -> str | None:
    if value is not None:
        raise PydanticCustomError("unsupported", "not supported")
    return value


class Settings(BaseSettings):
    """The server's settings, checked and normalised; durations are in seconds and sizes in bytes."""

    model_config = SettingsConfigDict(
        env_file=(".env", ".env.local"),  # the later one wins
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        case_sensitive=True,
        extra="ignore",  # .env.local is shared with the web app
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    secret: Secret = Field(
        validation_alias="NEXTAUTH_SECRET",
        description="The secret that the web app's tokens are made with (the app has it under the same name).",
    )
    previous_secrets: Secrets = Field(
        default=(),
        validation_alias="NEXTAUTH_SECRET_PREVIOUS",
        description="Former secrets, comma-separated: tokens made with them are still accepted.",
    )
    port: Port = Field(
        default=3001,
        validation_alias="WS_PORT",
        description="Port to listen on; 0 takes any free one.",
    )
    host: Host = Field(
        default="",
        validation_alias="WS_HOST",
        description="Address to listen on; unset: every interface, IPv4 and IPv6.",
    )
    allowed_origins: Origins = Field(
        default=("http://localhost:3000",),
        validation_alias="ALLOWED_ORIGINS",
        description="Origins that browsers may connect from, comma-separated; https://*.example.com and * work too.",
    )
    path: Path = Field(
        default="/socket.io/",
        validation_alias="WS_PATH",
        description="Path of Socket.IO; the clients' path option has to be the same.",
    )
    ping_interval: Interval = Field(
        default=25,
        validation_alias="WS_PING_INTERVAL",
        description="Seconds from a client's last answer to its next ping.",
    )
    ping_timeout: Interval = Field(
        default=60,
        validation_alias="WS_PING_TIMEOUT",
        description="Seconds that a client has to answer a ping; then it is disconnected.",
    )
    transports: Transports = Field(
        default=("polling", "websocket"),
        validation_alias="WS_TRANSPORTS",
        description="Transports that clients may use, comma-separated.",
    )
    max_payload: PayloadSize = Field(
        default=1_000_000,
        validation_alias="WS_MAX_PAYLOAD",
        description="Bytes of the largest message that a client may send.",
    )
    compression: Flag = Field(
        default=False,
        validation_alias="WS_COMPRESSION",
        description="Compress messages for clients that can read it: less traffic for more processor time.",
    )
    compression_threshold: Threshold = Field(
        default=1024,
        validation_alias="WS_COMPRESSION_THRESHOLD",
        description="Bytes from which on a message is worth compressing.",
    )
    connect_timeout: Interval = Field(
        default=45,
        validation_alias="WS_CONNECT_TIMEOUT",
        description="Seconds that a new connection has to join a namespace; then it is closed.",
    )
    upgrade_timeout: Interval = Field(
        default=10,
        validation_alias="WS_UPGRADE_TIMEOUT",
        description="Seconds that a client has to complete its upgrade from polling to WebSocket.",
    )
    max_outbox: OutboxSize = Field(
        default=4_000_000,
        validation_alias="WS_MAX_OUTBOX",
        description="Bytes that may wait for a client that does not read; beyond them it is disconnected.",
    )
    shutdown_timeout: GracePeriod = Field(
        default=5,
        validation_alias="SHUTDOWN_TIMEOUT",
        description="Seconds that clients have to get their last messages when the server stops.",
    )
    log_level: Level = Field(
        default="info",
        validation_alias="LOG_LEVEL",
        description="What is logged: debug, info, warning or error, each with all that is more serious.",
    )
    redis_url: Annotated[str | None, AfterValidator(_unsupported)] = Field(
        default=None,
        validation_alias="REDIS_URL",
        description="Not supported by this version, which runs as a single instance: leave it unset.",
    )


def load_settings(*, host: str | None = None, port: int | None = None) -> Settings:
    """Read the settings; what is passed wins over every variable.

    Raises `SettingsError` with one line for each variable that cannot be used.
    """
    options = {"WS_HOST": host, "WS_PORT": port}
    given: dict[str, Any] = {variable: value for variable, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(list(dict.fromkeys(map(_sentence, error.errors())))) from None
    except UnicodeDecodeError:
        raise SettingsError([".env.local or .env is not text in UTF-8"]) from None
    except OSError as error:
        raise SettingsError([f"{error.filename} cannot be read: {error.strerror}"]) from None


def describe() -> Iterator[Variable]:
    """Every variable with its default, as it would be written, and what it is for."""
    for field in Settings.model_fields.values():
        default = None if field.is_required() else _written(field.default)
        yield Variable(str(field.validation_alias), default, field.description or "")


def _written(value: object) -> str:
    match value:
        case None:
            return ""
        case tuple():
            return ",".join(map(str, value))
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _sentence(error: ErrorDetails) -> str:
    """Say in one line what is wrong; what a secret is, is never said."""
    variable = str(error["loc"][0])
    match variable:
        case "NEXTAUTH_SECRET":
            return f"{variable} is not set: put the secret of the web app into the environment or into .env.local"
        case "REDIS_URL":  # it may hold a password
            return f"{variable} is set, but this version does not support several instances: unset it"
    value = error.get("ctx", {}).get("value", error["input"])
    shown = json.dumps(value, ensure_ascii=False, default=str)
    if len(shown) > _LONGEST_SHOWN:
        shown = shown[:_LONGEST_SHOWN] + "…"
    return f"{variable}: {shown} is not {_allowed(variable)}"


def _allowed(variable: str) -> str:
    field = next(field for field in Settings.model_fields.values() if field.validation_alias == variable)
    return next(note.words for note in field.metadata if isinstance(note, Allowed))
