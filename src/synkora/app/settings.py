"""The settings, from environment variables and files like `.env.local` in the working folder."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from synkora.app import setting_sources
from synkora.app.setting_values import (
    AccessValue,
    AdvertiseValue,
    Allowed,
    ApiPortValue,
    ApiTokensValue,
    AwayValue,
    ByteRateValue,
    ConsoleTokenValue,
    CookieNameValue,
    CountValue,
    EnvironmentValue,
    FileValue,
    FlagValue,
    FolderValue,
    FormatValue,
    GracePeriodValue,
    HostValue,
    IntervalValue,
    KeptCountValue,
    KeptSizeValue,
    LevelValue,
    NameValue,
    OriginsValue,
    OutboxSizeValue,
    PathValue,
    PayloadSizeValue,
    PortValue,
    PrefixValue,
    ProxiesValue,
    PublishFromValue,
    RateValue,
    RedisValue,
    SecretsValue,
    SecretValue,
    ThresholdValue,
    TokenValue,
    TransportsValue,
    WebhookSecretsValue,
    WebhookUrlValue,
    WorkersValue,
    WriteIntervalValue,
)
from synkora.app.setting_warnings import origin_warnings, secret_warnings

_LONGEST_SHOWN = 100
_OTHERS = frozenset(("SSL_CERT_DIR", "SSL_CERT_FILE"))  # OpenSSL's variables, similar to ours by chance
_ALIKE = 0.88  # REDIS_URI is similar to REDIS_URL, and the app's REDIS_TLS_URL is not


class SettingsError(Exception):
    """Invalid settings; each of `lines` names a variable and its allowed values."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Variable(NamedTuple):
    """A variable in the help and the documentation; `default` is None for a required variable."""

    name: str
    default: str | None
    description: str


class _Variables(PydanticBaseSettingsSource):
    """Reads settings from the environment and the files."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: `__call__` reads all variables at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = setting_sources.variables()
        known = {variable.name for variable in describe()}
        values: dict[str, Any] = {name: value for name, value in found.items() if name in known}
        secret = next((found[name] for name in setting_sources.SECRET_NAMES if name in found), None)
        if secret is not None:
            values["NEXTAUTH_SECRET"] = secret
        values["further_secrets"] = tuple(setting_sources.secrets_besides(found))
        return values


class Settings(BaseSettings):
    """The server's settings, checked and normalised; durations are in seconds and sizes in bytes."""

    model_config = SettingsConfigDict(
        case_sensitive=True,
        extra="ignore",  # .env.local is shared with the web app
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    secret: SecretValue = Field(
        validation_alias="NEXTAUTH_SECRET",
        description="The web app's secret, which signs and encrypts its tokens; the app has the same variable.",
    )
    auth_secret: TokenValue = Field(
        default=None,
        validation_alias="AUTH_SECRET",
        description="The secret under Auth.js v5's name. If NEXTAUTH_SECRET is set too, the server accepts tokens of "
        "both, and of AUTH_SECRET_1 to AUTH_SECRET_3.",
    )
    session_cookie: CookieNameValue = Field(
        default="",
        validation_alias="SESSION_COOKIE",
        description="Name of the app's session cookie, if the app does not use a default name; the default names "
        "count too.",
    )
    previous_secrets: SecretsValue = Field(
        default=(),
        validation_alias="NEXTAUTH_SECRET_PREVIOUS",
        description="Former secrets, comma-separated; the server still accepts their tokens.",
    )
    environment: EnvironmentValue = Field(
        default="development",
        validation_alias="SYNKORA_ENV",
        description="development or production. Production refuses a weak NEXTAUTH_SECRET instead of warning, and "
        "has no playground.",
    )
    port: PortValue = Field(
        default=3001,
        validation_alias="WS_PORT",
        description="Port to listen on; 0 takes any free one.",
    )
    host: HostValue = Field(
        default="",
        validation_alias="WS_HOST",
        description="Address to listen on; unset: all interfaces, IPv4 and IPv6.",
    )
    allowed_origins: OriginsValue = Field(
        default=("http://localhost:3000",),
        validation_alias="ALLOWED_ORIGINS",
        description="Origins that browsers may connect from, comma-separated; https://*.example.com, "
        "http://localhost:*, capacitor://localhost and * work too.",
    )
    trusted_proxies: ProxiesValue = Field(
        default=(),
        validation_alias="TRUSTED_PROXIES",
        description="Proxies whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host the server trusts, "
        "comma-separated: addresses, networks, unix for a unix socket.",
    )
    ssl_certfile: FileValue = Field(
        default=None,
        validation_alias="SSL_CERTFILE",
        description="Certificate chain for TLS (PEM); unset: no TLS.",
    )
    ssl_keyfile: FileValue = Field(
        default=None,
        validation_alias="SSL_KEYFILE",
        description="Key of that certificate (PEM, without a passphrase).",
    )
    path: PathValue = Field(
        default="/socket.io/",
        validation_alias="WS_PATH",
        description="Path of Socket.IO; the clients' path option must be the same.",
    )
    ping_interval: IntervalValue = Field(
        default=25,
        validation_alias="WS_PING_INTERVAL",
        description="Seconds from a client's last answer to its next ping.",
    )
    ping_timeout: IntervalValue = Field(
        default=60,
        validation_alias="WS_PING_TIMEOUT",
        description="Seconds that a client has to answer a ping; then the server disconnects the client.",
    )
    transports: TransportsValue = Field(
        default=("polling", "websocket"),
        validation_alias="WS_TRANSPORTS",
        description="Transports that clients may use, comma-separated.",
    )
    max_payload: PayloadSizeValue = Field(
        default=1_000_000,
        validation_alias="WS_MAX_PAYLOAD",
        description="Bytes of the largest message that a client may send, its attachments included.",
    )
    compression: FlagValue = Field(
        default=False,
        validation_alias="WS_COMPRESSION",
        description="Compress messages for clients that support it: less traffic for more CPU time.",
    )
    compression_threshold: ThresholdValue = Field(
        default=1024,
        validation_alias="WS_COMPRESSION_THRESHOLD",
        description="Smallest message, in bytes, that the server compresses.",
    )
    write_interval: WriteIntervalValue = Field(
        default=0,
        validation_alias="WS_WRITE_INTERVAL",
        description="Seconds between two writes, at least. With 0.001, a busy server reads and writes more at once: "
        "less CPU time, and a millisecond more of latency. 0 writes at once.",
    )
    connect_timeout: IntervalValue = Field(
        default=45,
        validation_alias="WS_CONNECT_TIMEOUT",
        description="Seconds that a new connection has to join a namespace; then the server closes the connection.",
    )
    upgrade_timeout: IntervalValue = Field(
        default=10,
        validation_alias="WS_UPGRADE_TIMEOUT",
        description="Seconds that a client has to complete its upgrade from polling to WebSocket. A CONNECT without "
        "a token waits so long for the cookie of the upgrade.",
    )
    keep_alive: IntervalValue = Field(
        default=65,
        validation_alias="WS_KEEP_ALIVE",
        description="Seconds that an HTTP connection stays open after a request. A load balancer must close its idle "
        "connections earlier (Google's: after 600 s).",
    )
    max_outbox: OutboxSizeValue = Field(
        default=4_000_000,
        validation_alias="WS_MAX_OUTBOX",
        description="Bytes that may wait for a slow consumer; beyond this limit the server disconnects the client. "
        "Not less than WS_MAX_PAYLOAD.",
    )
    recovery: FlagValue = Field(
        default=True,
        validation_alias="RECOVERY",
        description="Give clients that return after a lost connection their projects back, and the events that they "
        "missed.",
    )
    recovery_max_away: AwayValue = Field(
        default=7200,
        validation_alias="RECOVERY_MAX_AWAY",
        description="Seconds that a lost client may be away; later the client is a new one.",
    )
    recovery_log_age: AwayValue = Field(
        default=7200,
        validation_alias="RECOVERY_LOG_AGE",
        description="Seconds for which the events of a project are kept.",
    )
    recovery_log_events: KeptCountValue = Field(
        default=10_000,
        validation_alias="RECOVERY_LOG_EVENTS",
        description="Events of a project that are kept.",
    )
    recovery_log_bytes: KeptSizeValue = Field(
        default=4_000_000,
        validation_alias="RECOVERY_LOG_BYTES",
        description="Bytes of a project's events that are kept.",
    )
    recovery_total_bytes: KeptSizeValue = Field(
        default=64_000_000,
        validation_alias="RECOVERY_TOTAL_BYTES",
        description="Bytes of the events of all projects that are kept.",
    )
    state_dir: FolderValue = Field(
        default=None,
        validation_alias="STATE_DIR",
        description="Folder in which the missed events and the lost clients outlive a restart, of this instance alone; "
        "the server makes it. Unset: they are kept in memory. With REDIS_URL or several workers, Redis keeps them.",
    )
    presence_grace: GracePeriodValue = Field(
        default=5,
        validation_alias="PRESENCE_GRACE",
        description="Seconds for which a lost connection stays in the lists of its projects: nobody sees a client "
        "that returns within this time leave. 0: it leaves at once. Only with RECOVERY.",
    )
    shutdown_timeout: GracePeriodValue = Field(
        default=5,
        validation_alias="SHUTDOWN_TIMEOUT",
        description="Longest shutdown in seconds; clients have up to two of these seconds to get their last messages.",
    )
    shutdown_drain: GracePeriodValue = Field(
        default=0,
        validation_alias="SHUTDOWN_DRAIN",
        description="Seconds over which a stopping instance sends its clients to the others; 0: all at once. Only "
        "with REDIS_URL, or when a reload replaces one of several workers.",
    )
    log_level: LevelValue = Field(
        default="info",
        validation_alias="LOG_LEVEL",
        description="Least severe lines to log: debug, info, warning or error.",
    )
    log_format: FormatValue = Field(
        default="text",
        validation_alias="LOG_FORMAT",
        description="text: readable lines; json: one object a line.",
    )
    metrics_token: TokenValue = Field(
        default=None,
        validation_alias="METRICS_TOKEN",
        description="Bearer token that Prometheus needs to read /metrics; unset: everyone who can reach the port may "
        "read /metrics.",
    )
    console_token: ConsoleTokenValue = Field(
        default=None,
        validation_alias="CONSOLE_TOKEN",
        description="Token with which operators sign in to /console, 16 characters or more. Unset: the console is "
        "off; in development it is open to localhost only.",
    )
    api_tokens: ApiTokensValue = Field(
        default=(),
        validation_alias="API_TOKEN",
        description="Bearer token of the app's backend for the HTTP API, 16 characters or more; several with commas "
        "between them, to replace one without a pause. Unset: no API.",
    )
    api_port: ApiPortValue = Field(
        default=None,
        validation_alias="API_PORT",
        description="Port on which the HTTP API is served, instead of WS_PORT.",
    )
    admin_ui: FlagValue = Field(
        default=False,
        validation_alias="ADMIN_UI",
        description="true: Socket.IO's Admin UI may connect, with CONSOLE_TOKEN as its password.",
    )
    project_access: AccessValue = Field(
        default="open",
        validation_alias="PROJECT_ACCESS",
        description="Who may join a project: open (every signed-in user), http (the app decides) or postgres (the "
        "app's database decides).",
    )
    app_url: str | None = Field(
        default=None,
        validation_alias="APP_URL",
        description="The web app's address, as this server reaches it, for PROJECT_ACCESS=http.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        description="The web app's database, in Prisma's format, for PROJECT_ACCESS=postgres and for sessions that "
        "the app keeps in its database.",
    )
    publish_from: PublishFromValue = Field(
        default="none",
        validation_alias="PUBLISH_FROM",
        description="postgres: publish what the app writes into the table synkora_outbox of its database, at "
        "DATABASE_URL; none: do not.",
    )
    webhook_url: WebhookUrlValue = Field(
        default=None,
        validation_alias="WEBHOOK_URL",
        description="Address of the app's backend that is told who enters and leaves projects. Unset: no webhooks.",
    )
    webhook_secrets: WebhookSecretsValue = Field(
        default=(),
        validation_alias="WEBHOOK_SECRET",
        description="Secret that signs the webhooks, as Standard Webhooks write it: whsec_ and base64; several with "
        "commas between them, to replace one without a pause.",
    )
    limit_volatile_rate: RateValue = Field(
        default=100,
        validation_alias="LIMIT_VOLATILE_RATE",
        description="Cursors, selections and typing events of one connection a second; burst: three seconds' worth.",
    )
    limit_edit_rate: RateValue = Field(
        default=100,
        validation_alias="LIMIT_EDIT_RATE",
        description="Edits of one connection a second; burst: three seconds' worth.",
    )
    limit_other_rate: RateValue = Field(
        default=20,
        validation_alias="LIMIT_OTHER_RATE",
        description="Joins, leaves and other events of one connection a second; burst: three seconds' worth.",
    )
    limit_byte_rate: ByteRateValue = Field(
        default=1_000_000,
        validation_alias="LIMIT_BYTE_RATE",
        description="Bytes of events of one connection a second; burst: three seconds' worth.",
    )
    limit_user_byte_rate: ByteRateValue = Field(
        default=200_000_000,
        validation_alias="LIMIT_USER_BYTE_RATE",
        description="Bytes a second that the server sends to others for one user, over all the user's connections; a "
        "delivery counts as 3,000 more, an event as 8,000, a join as 200,000, with WEBHOOK_URL as "
        "1,000,000.",
    )
    limit_projects: CountValue = Field(
        default=50,
        validation_alias="LIMIT_PROJECTS",
        description="Projects that one connection may be in.",
    )
    limit_connections_per_user: CountValue = Field(
        default=1000,
        validation_alias="LIMIT_CONNECTIONS_PER_USER",
        description="Connections of one user.",
    )
    limit_connections_per_address: CountValue = Field(
        default=10_000,
        validation_alias="LIMIT_CONNECTIONS_PER_ADDRESS",
        description="Connections of one address (of one /64 network for IPv6); behind a proxy, set TRUSTED_PROXIES.",
    )
    limit_handshakes_per_address: RateValue = Field(
        default=1000,
        validation_alias="LIMIT_HANDSHAKES_PER_ADDRESS",
        description="New connections of one address a second; burst: ten seconds' worth.",
    )
    limit_failed_sign_ins: CountValue = Field(
        default=20,
        validation_alias="LIMIT_FAILED_SIGN_INS",
        description="Refused sign-ins of one address within a minute; beyond this number each refusal takes longer.",
    )
    limit_api_rate: RateValue = Field(
        default=100,
        validation_alias="LIMIT_API_RATE",
        description="Requests to the HTTP API a second; burst: two seconds' worth.",
    )
    limit_clients: CountValue = Field(
        default=50_000,
        validation_alias="LIMIT_CLIENTS",
        description="All clients of this server, on all its workers.",
    )
    workers: WorkersValue = Field(
        default=1,
        validation_alias="WS_WORKERS",
        description="Processes that share the port and act as one server; auto: one for each core. Without REDIS_URL, "
        "more than one need redis-server or valkey-server in PATH.",
    )
    redis_url: RedisValue = Field(
        default=None,
        validation_alias="REDIS_URL",
        description="The Redis that joins this instance with others, such as redis://:password@host; rediss:// is "
        "with TLS, unix:///path a Unix socket, redis+sentinel://host:26379/mymaster a master that Sentinels watch, and "
        "redis+cluster://host a Redis Cluster. Unset: a single server.",
    )
    redis_prefix: PrefixValue = Field(
        default="socket.io",
        validation_alias="REDIS_PREFIX",
        description="Prefix of the channels in Redis, the key of Node.js' adapter. Deployments that share a Redis "
        "need different prefixes.",
    )
    instance: NameValue = Field(
        default="",
        validation_alias="WS_INSTANCE",
        description="Name of this instance: its session ids begin with the name and a dot, so that a proxy can route "
        "by the name.",
    )

    advertise: AdvertiseValue = Field(
        default="",
        validation_alias="WS_ADVERTISE",
        description="Host and port at which the other instances reach this one, or a URL of these. Unset: the address "
        "of WS_HOST, or of this machine in its network, and WS_PORT.",
    )

    # Without a description, because this is not a variable: other secrets that the sources found.
    further_secrets: SecretsValue = Field(default=(), validation_alias="further_secrets")

    is_integrated: FlagValue = Field(
        default=True,
        validation_alias="ENABLE_INTEGRATED_WEBSOCKET",
        description="false: a Python web app with this server inside does not serve Socket.IO itself. No effect on "
        "synkora serve.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments override variables."""
        return init_settings, _Variables(settings_cls)

    @property
    def secret_variable(self) -> str:
        """The variable that holds the secret."""
        is_v5 = self.auth_secret is not None and self.auth_secret == self.secret
        return "AUTH_SECRET" if is_v5 else "NEXTAUTH_SECRET"

    @property
    def has_playground(self) -> bool:
        """Whether the playground is served: in development only."""
        return self.environment == "development"

    @property
    def has_console(self) -> bool:
        """Whether the console is served: with a token, or in development."""
        return self.console_token is not None or self.environment == "development"

    @property
    def accepted_secrets(self) -> tuple[str, ...]:
        """The secrets, besides the current one, whose tokens are accepted."""
        return tuple(secret.get_secret_value() for secret in (*self.previous_secrets, *self.further_secrets))

    def cautions(self) -> list[str]:
        """Advice to change settings, one line each, without secrets."""
        return [*self._weak_secrets(), *origin_warnings(self.allowed_origins), *self._idle(), *_mistaken()]

    def _idle(self) -> list[str]:
        """Settings without effect, one line each."""
        found: list[str] = []
        if self.shutdown_drain and self.redis_url is None and self.workers == 1:
            found.append("SHUTDOWN_DRAIN does nothing without REDIS_URL: there is no other instance to send clients to")
        if self.state_dir is not None and not self.recovery:
            found.append("STATE_DIR does nothing with RECOVERY=false: nothing is kept")
        elif self.state_dir is not None and self.redis_url is None and self.workers != 1:
            found.append(
                "STATE_DIR does nothing with several workers: they keep all in a Redis of their own, which ends with "
                "the server. To keep it, set REDIS_URL"
            )
        if self.api_port is not None and not self.api_tokens:
            found.append("API_PORT does nothing without API_TOKEN: there is no API")
        if self.webhook_secrets and self.webhook_url is None:
            found.append("WEBHOOK_SECRET does nothing without WEBHOOK_URL: there are no webhooks")
        return found

    def problems(self) -> list[str]:
        """Reasons why a server cannot start with these settings, one line each, without secrets."""
        weak = self._weak_secrets() if self.environment == "production" else []
        return [*(f"SYNKORA_ENV is production, and {line}" for line in weak), *self.contradictions()]

    def contradictions(self) -> list[str]:
        """Contradictions between settings, one line each, without secrets."""
        found: list[str] = []
        if (self.ssl_certfile is None) is not (self.ssl_keyfile is None):
            given, missing = ("SSL_CERTFILE", "SSL_KEYFILE")[:: 1 if self.ssl_certfile else -1]
            found.append(f"{given} is set, but {missing} is not: TLS needs both")
        if self.project_access == "http" and self.app_url is None:
            found.append("PROJECT_ACCESS is http, but APP_URL is not set: it is where to ask")
        if self.project_access == "postgres" and self.database_url is None:
            found.append("PROJECT_ACCESS is postgres, but DATABASE_URL is not set: it is where to ask")
        if self.publish_from == "postgres" and self.database_url is None:
            found.append("PUBLISH_FROM is postgres, but DATABASE_URL is not set: it is where the outbox is")
        if self.publish_from == "postgres" and not self.recovery:
            found.append("PUBLISH_FROM is postgres, but RECOVERY is false: a row might be published twice")
        if self.webhook_url is not None and not self.webhook_secrets:
            found.append("WEBHOOK_URL is set, but WEBHOOK_SECRET is not: the app could not tell who writes to it")
        if self.admin_ui and self.console_token is None:
            found.append("ADMIN_UI is true, but CONSOLE_TOKEN is not set: it is the password")
        if self.max_outbox < self.max_payload:
            found.append(
                f"WS_MAX_OUTBOX: {self.max_outbox} is less than WS_MAX_PAYLOAD, {self.max_payload}: "
                "a client that is sent a message of that size would be disconnected"
            )
        return found

    def _weak_secrets(self) -> list[str]:
        previous = tuple(secret.get_secret_value() for secret in self.previous_secrets)
        return list(secret_warnings(self.secret.get_secret_value(), previous, self.secret_variable))


def _mistaken() -> Iterator[str]:
    for name, source, meant in unknown_names(setting_sources.names()):
        yield f"{name}, from {source}, is no setting of this server's: write {meant}, if that is what you mean"


def load_settings(*, host: str | None = None, port: int | None = None, workers: str | None = None) -> Settings:
    """Read the settings; arguments override variables.

    Raises `SettingsError` with one line for each invalid variable and each contradiction.
    """
    settings = read_settings(host=host, port=port, workers=workers)
    if problems := settings.problems():
        raise SettingsError(problems)
    return settings


def read_settings(*, host: str | None = None, port: int | None = None, workers: str | None = None) -> Settings:
    """Like `load_settings`, but without the check for contradictions."""
    options = {"WS_HOST": host, "WS_PORT": port, "WS_WORKERS": workers}
    given: dict[str, Any] = {variable: value for variable, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(list(dict.fromkeys(map(_refusal_text, error.errors())))) from None
    except UnicodeDecodeError:
        raise SettingsError([".env.local, or another file of variables, is not text in UTF-8"]) from None
    except OSError as error:
        raise SettingsError([f"{error.filename} cannot be read: {error.strerror}"]) from None


def describe() -> Iterator[Variable]:
    """Yield every variable with its default, as written in a file, and its description."""
    for field in Settings.model_fields.values():
        if field.description is None:
            continue
        default = None if field.is_required() else written(field.default)
        yield Variable(str(field.validation_alias), default, field.description)


def unknown_names(found: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, str, str]]:
    """Yield variables with a name similar to a setting's, each with its source and the probable setting."""
    known = [variable.name for variable in describe()]
    for source, names in found.items():
        for name in sorted(set(names).difference(known, _OTHERS, setting_sources.FORMER_SECRETS)):
            if meant := difflib.get_close_matches(name, known, 1, _ALIKE):
                yield name, source, meant[0]


def written(value: object) -> str:
    """Return a value as the text of a variable."""
    match value:
        case None:
            return ""
        case tuple():
            return ",".join(map(str, value))
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)


def _refusal_text(error: ErrorDetails) -> str:
    """Return the error in one line, without secrets."""
    variable = str(error["loc"][0])
    match variable:
        case "NEXTAUTH_SECRET":
            return f"{variable} is not set: put the secret of the web app into the environment or into .env.local"
        case "REDIS_URL" | "CONSOLE_TOKEN" | "API_TOKEN" | "WEBHOOK_URL" | "WEBHOOK_SECRET":  # secret values
            return f"{variable} {error['ctx']['words']}"
    value = error.get("ctx", {}).get("value", error["input"])
    shown = json.dumps(value, ensure_ascii=False, default=str)
    if len(shown) > _LONGEST_SHOWN:
        shown = shown[:_LONGEST_SHOWN] + "…"
    return f"{variable}: {shown} is not {allowed(variable)}"


def allowed(variable: str) -> str:
    """Return a variable's allowed values as the end of a sentence; empty if no short text exists."""
    field = next(field for field in Settings.model_fields.values() if field.validation_alias == variable)
    return next((note.words for note in field.metadata if isinstance(note, Allowed)), "")
