"""What can be set, by variables of the environment, or of files like `.env.local` in the working folder."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, get_args

from synkora.app import sources, values
from synkora.app.cautions import origin_cautions, secret_cautions
from synkora.app.values import NotAllowed, SecretStr, Setting

_SECRET_NAME: Final = sources.SECRET_NAMES[0]
_LONGEST_SHOWN = 100
_OTHERS = frozenset(("SSL_CERT_DIR", "SSL_CERT_FILE"))  # OpenSSL's own, like ours by chance
_ALIKE = 0.88  # REDIS_URI is like REDIS_URL, and the app's own REDIS_TLS_URL is not


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


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The server's settings, checked and normalised; durations are in seconds and sizes in bytes."""

    secret: Annotated[
        SecretStr,
        Setting(
            "NEXTAUTH_SECRET",
            values.SECRET,
            "The secret that the web app's tokens are made with (the app has it under the same name).",
        ),
    ]
    auth_secret: Annotated[
        SecretStr | None,
        Setting(
            "AUTH_SECRET",
            values.SECRET,
            "The same under Auth.js v5's name, for where NEXTAUTH_SECRET is not set; where both are, either is "
            "accepted, and so are AUTH_SECRET_1 to AUTH_SECRET_3.",
        ),
    ] = None
    session_cookie: Annotated[
        str,
        Setting(
            "SESSION_COOKIE",
            values.COOKIE_NAME,
            "Name of the app's session cookie, where the app gives it a name of its own; the usual names count too.",
        ),
    ] = ""
    previous_secrets: Annotated[
        tuple[SecretStr, ...],
        Setting(
            "NEXTAUTH_SECRET_PREVIOUS",
            values.SECRETS,
            "Former secrets, comma-separated: tokens made with them are still accepted.",
        ),
    ] = ()
    environment: Annotated[
        values.Environment,
        Setting(
            "SYNKORA_ENV",
            values.ENVIRONMENT,
            "development or production; production refuses a weak NEXTAUTH_SECRET instead of warning, "
            "and has no playground.",
        ),
    ] = "development"
    port: Annotated[
        int,
        Setting("WS_PORT", values.PORT, "Port to listen on; 0 takes any free one."),
    ] = 3001
    host: Annotated[
        str,
        Setting("WS_HOST", values.HOST, "Address to listen on; unset: every interface, IPv4 and IPv6."),
    ] = ""
    allowed_origins: Annotated[
        tuple[str, ...],
        Setting(
            "ALLOWED_ORIGINS",
            values.ORIGINS,
            "Origins that browsers may connect from, comma-separated; https://*.example.com, "
            "http://localhost:*, capacitor://localhost and * work too.",
        ),
    ] = ("http://localhost:3000",)
    trusted_proxies: Annotated[
        tuple[str, ...],
        Setting(
            "TRUSTED_PROXIES",
            values.PROXIES,
            "Proxies whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host are believed, "
            "comma-separated: addresses, networks, unix for a unix socket.",
        ),
    ] = ()
    ssl_certfile: Annotated[
        Path | None,
        Setting(
            "SSL_CERTFILE",
            values.FILE,
            "Certificate (PEM, with those that it was issued by) to speak TLS with; unset: no TLS.",
        ),
    ] = None
    ssl_keyfile: Annotated[
        Path | None,
        Setting("SSL_KEYFILE", values.FILE, "Key of that certificate (PEM, without a passphrase)."),
    ] = None
    path: Annotated[
        str,
        Setting("WS_PATH", values.PATH, "Path of Socket.IO; the clients' path option has to be the same."),
    ] = "/socket.io/"
    ping_interval: Annotated[
        float,
        Setting("WS_PING_INTERVAL", values.INTERVAL, "Seconds from a client's last answer to its next ping."),
    ] = 25
    ping_timeout: Annotated[
        float,
        Setting(
            "WS_PING_TIMEOUT", values.INTERVAL, "Seconds that a client has to answer a ping; then it is disconnected."
        ),
    ] = 60
    transports: Annotated[
        tuple[values.Transport, ...],
        Setting("WS_TRANSPORTS", values.TRANSPORTS, "Transports that clients may use, comma-separated."),
    ] = ("polling", "websocket")
    max_payload: Annotated[
        int,
        Setting(
            "WS_MAX_PAYLOAD",
            values.PAYLOAD_SIZE,
            "Bytes of the largest message that a client may send, its attachments included.",
        ),
    ] = 1_000_000
    compression: Annotated[
        bool,
        Setting(
            "WS_COMPRESSION",
            values.FLAG,
            "Compress messages for clients that can read it: less traffic for more processor time.",
        ),
    ] = False
    compression_threshold: Annotated[
        int,
        Setting("WS_COMPRESSION_THRESHOLD", values.THRESHOLD, "Bytes from which on a message is worth compressing."),
    ] = 1024
    connect_timeout: Annotated[
        float,
        Setting(
            "WS_CONNECT_TIMEOUT",
            values.INTERVAL,
            "Seconds that a new connection has to join a namespace; then it is closed.",
        ),
    ] = 45
    upgrade_timeout: Annotated[
        float,
        Setting(
            "WS_UPGRADE_TIMEOUT",
            values.INTERVAL,
            "Seconds that a client has to complete its upgrade from polling to WebSocket; as long a CONNECT "
            "without a token waits for the upgrade's cookie.",
        ),
    ] = 10
    keep_alive: Annotated[
        float,
        Setting(
            "WS_KEEP_ALIVE",
            values.INTERVAL,
            "Seconds that an HTTP connection stays open after a request; a load balancer has to close its idle "
            "connections earlier (Google's: after 600 s).",
        ),
    ] = 65
    max_outbox: Annotated[
        int,
        Setting(
            "WS_MAX_OUTBOX",
            values.OUTBOX_SIZE,
            "Bytes that may wait for a client that does not read; beyond them it is disconnected. "
            "Not less than WS_MAX_PAYLOAD.",
        ),
    ] = 4_000_000
    shutdown_timeout: Annotated[
        float,
        Setting(
            "SHUTDOWN_TIMEOUT",
            values.GRACE_PERIOD,
            "Seconds that stopping takes at most; clients have up to two of them to get their last messages.",
        ),
    ] = 5
    shutdown_drain: Annotated[
        float,
        Setting(
            "SHUTDOWN_DRAIN",
            values.GRACE_PERIOD,
            "Seconds over which an instance sends its clients to the others before it stops; 0 is all at once. "
            "Only with REDIS_URL.",
        ),
    ] = 0
    log_level: Annotated[
        values.LogLevel,
        Setting(
            "LOG_LEVEL",
            values.LOG_LEVEL,
            "What is logged: debug, info, warning or error, each with all that is more serious.",
        ),
    ] = "info"
    log_format: Annotated[
        values.LogFormat,
        Setting("LOG_FORMAT", values.LOG_FORMAT, "text writes lines for people, json one object a line."),
    ] = "text"
    metrics_token: Annotated[
        SecretStr | None,
        Setting(
            "METRICS_TOKEN",
            values.SECRET,
            "The bearer token that Prometheus needs to read /metrics; unset: whoever reaches the port may read it.",
        ),
    ] = None
    console_token: Annotated[
        SecretStr | None,
        Setting(
            "CONSOLE_TOKEN",
            values.CONSOLE_TOKEN,
            "What operators sign in to /console with, 16 characters or more; unset: there is none, but for "
            "this machine in development.",
        ),
    ] = None
    admin_ui: Annotated[
        bool,
        Setting("ADMIN_UI", values.FLAG, "true: Socket.IO's Admin UI may connect, with CONSOLE_TOKEN as its password."),
    ] = False
    project_access: Annotated[
        values.Access,
        Setting(
            "PROJECT_ACCESS",
            values.ACCESS,
            "Who may join a project: open (everyone signed in), or whom the app (http) or its database "
            "(postgres) lets in.",
        ),
    ] = "open"
    app_url: Annotated[
        str | None,
        Setting(
            "APP_URL", values.TEXT, "Where PROJECT_ACCESS=http asks: the web app's address, as this server reaches it."
        ),
    ] = None
    database_url: Annotated[
        SecretStr | None,
        Setting(
            "DATABASE_URL",
            values.SECRET_TEXT,
            "The web app's database, as Prisma has it: where PROJECT_ACCESS=postgres asks, and where sessions "
            "are looked up that the app keeps there.",
        ),
    ] = None
    limit_volatile_rate: Annotated[
        float,
        Setting(
            "LIMIT_VOLATILE_RATE",
            values.RATE,
            "Cursors, selections and typing that one connection may send a second, for three seconds at once.",
        ),
    ] = 100
    limit_edit_rate: Annotated[
        float,
        Setting(
            "LIMIT_EDIT_RATE", values.RATE, "Edits that one connection may send a second, for three seconds at once."
        ),
    ] = 100
    limit_other_rate: Annotated[
        float,
        Setting(
            "LIMIT_OTHER_RATE",
            values.RATE,
            "Joins, leaves and anything else that one connection may send a second, for three seconds at once.",
        ),
    ] = 20
    limit_byte_rate: Annotated[
        float,
        Setting(
            "LIMIT_BYTE_RATE",
            values.BYTE_RATE,
            "Bytes of events that one connection may send a second, for three seconds at once.",
        ),
    ] = 1_000_000
    limit_user_byte_rate: Annotated[
        float,
        Setting(
            "LIMIT_USER_BYTE_RATE",
            values.BYTE_RATE,
            "Bytes a second that are sent to others for one user, over all of the user's connections; each delivery "
            "counts as 3,000 bytes more, and each event that the user sends as 8,000.",
        ),
    ] = 200_000_000
    limit_projects: Annotated[
        int,
        Setting("LIMIT_PROJECTS", values.COUNT, "Projects that one connection may be in."),
    ] = 50
    limit_connections_per_user: Annotated[
        int,
        Setting("LIMIT_CONNECTIONS_PER_USER", values.COUNT, "Connections of one user."),
    ] = 1000
    limit_connections_per_address: Annotated[
        int,
        Setting(
            "LIMIT_CONNECTIONS_PER_ADDRESS",
            values.COUNT,
            "Connections of one address (of one /64 network for IPv6); behind a proxy see TRUSTED_PROXIES.",
        ),
    ] = 10_000
    limit_handshakes_per_address: Annotated[
        float,
        Setting(
            "LIMIT_HANDSHAKES_PER_ADDRESS",
            values.RATE,
            "New connections of one address a second, for ten seconds at once.",
        ),
    ] = 1000
    limit_failed_sign_ins: Annotated[
        int,
        Setting(
            "LIMIT_FAILED_SIGN_INS",
            values.COUNT,
            "Refused sign-ins of one address within a minute, from which on each refusal takes longer.",
        ),
    ] = 20
    limit_clients: Annotated[
        int,
        Setting("LIMIT_CLIENTS", values.COUNT, "Clients of this instance in all."),
    ] = 50_000
    redis_url: Annotated[
        SecretStr | None,
        Setting(
            "REDIS_URL",
            values.REDIS,
            "Set: this instance is one of several, joined through this Redis, such as redis://:password@host; "
            "rediss:// is with TLS, unix:///path a Unix socket.",
        ),
    ] = None
    redis_prefix: Annotated[
        str,
        Setting(
            "REDIS_PREFIX",
            values.PREFIX,
            "What the names of the channels in Redis begin with, the key of Node.js' adapter; deployments that "
            "share a Redis need one each.",
        ),
    ] = "socket.io"
    instance: Annotated[
        str,
        Setting(
            "WS_INSTANCE",
            values.NAME,
            "Set: the ids of this instance's sessions begin with this name and a dot, so that a proxy can tell "
            "whose they are.",
        ),
    ] = ""

    # No variables: what the sources have besides, and the names of the fields that a variable was given for.
    further_secrets: tuple[SecretStr, ...] = ()
    given: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    is_integrated: Annotated[
        bool,
        Setting(
            "ENABLE_INTEGRATED_WEBSOCKET",
            values.FLAG,
            "false: a Python web app that has this server inside does not serve Socket.IO itself. It changes "
            "nothing for synkora serve.",
        ),
    ] = True

    @property
    def secret_variable(self) -> str:
        """The variable that the secret is from."""
        is_v5 = self.auth_secret is not None and self.auth_secret == self.secret
        return "AUTH_SECRET" if is_v5 else "NEXTAUTH_SECRET"

    @property
    def accepted_secrets(self) -> tuple[str, ...]:
        """Every secret besides the present one whose tokens are accepted."""
        return tuple(secret.get_secret_value() for secret in (*self.previous_secrets, *self.further_secrets))

    def cautions(self) -> list[str]:
        """What ought to be set otherwise, one line each, without any secret."""
        return [*self._weak_secrets(), *origin_cautions(self.allowed_origins), *self._idle(), *_mistaken()]

    def _idle(self) -> list[str]:
        """What is set and does nothing, one line each."""
        if self.shutdown_drain and self.redis_url is None:
            return ["SHUTDOWN_DRAIN does nothing without REDIS_URL: there is no other instance to send clients to"]
        return []

    def problems(self) -> list[str]:
        """Why a server cannot be started with them, one line each, without any secret."""
        weak = self._weak_secrets() if self.environment == "production" else []
        return [*(f"SYNKORA_ENV is production, and {line}" for line in weak), *self.contradictions()]

    def contradictions(self) -> list[str]:
        """Which settings contradict each other, one line each, without any secret."""
        found: list[str] = []
        if (self.ssl_certfile is None) is not (self.ssl_keyfile is None):
            given, missing = ("SSL_CERTFILE", "SSL_KEYFILE")[:: 1 if self.ssl_certfile else -1]
            found.append(f"{given} is set, but {missing} is not: TLS needs both")
        if self.project_access == "http" and self.app_url is None:
            found.append("PROJECT_ACCESS is http, but APP_URL is not set: it is where to ask")
        if self.project_access == "postgres" and self.database_url is None:
            found.append("PROJECT_ACCESS is postgres, but DATABASE_URL is not set: it is where to ask")
        if self.admin_ui and self.console_token is None:
            found.append("ADMIN_UI is true, but CONSOLE_TOKEN is not set: it is the password")
        if self.max_outbox < self.max_payload:
            found.append(
                f"WS_MAX_OUTBOX: {self.max_outbox} is less than WS_MAX_PAYLOAD, {self.max_payload}: "
                "whoever is sent a message of that size would be disconnected"
            )
        return found

    def _weak_secrets(self) -> list[str]:
        previous = tuple(secret.get_secret_value() for secret in self.previous_secrets)
        return list(secret_cautions(self.secret.get_secret_value(), previous, self.secret_variable))


def _mistaken() -> Iterator[str]:
    for name, source, meant in unknown_names(sources.names()):
        yield f"{name}, from {source}, is no setting of this server's: write {meant}, if that is what you mean"


def load_settings(*, host: str | None = None, port: int | None = None, **variables: str) -> Settings:
    """Read the settings; what is passed wins over every variable of the environment and the files.

    Raises `SettingsError` with one line for each variable that cannot be used, or not with the others.
    """
    settings = read_settings(host=host, port=port, **variables)
    if problems := settings.problems():
        raise SettingsError(problems)
    return settings


def read_settings(*, host: str | None = None, port: int | None = None, **variables: str) -> Settings:
    """Read the settings, whether they can be used together or not; the rest as `load_settings` does."""
    options = {"WS_HOST": host, "WS_PORT": None if port is None else str(port)}
    given = {variable: value for variable, value in options.items() if value is not None}
    try:
        found = sources.variables()
    except UnicodeDecodeError:
        raise SettingsError([".env.local, or another file of variables, is not text in UTF-8"]) from None
    except OSError as error:
        raise SettingsError([f"{error.filename} cannot be read: {error.strerror}"]) from None
    return _settings_of(found | variables | given)


def _settings_of(found: Mapping[str, str]) -> Settings:
    secret = next((found[name] for name in sources.SECRET_NAMES if name in found), "")
    read: dict[str, Any] = {}
    problems: list[str] = []
    for name, (setting, _) in SETTINGS.items():
        text = secret if setting.variable == _SECRET_NAME else found.get(setting.variable)
        if text is None:
            continue
        try:
            read[name] = setting.kind.read(text)
        except NotAllowed as error:
            problems.append(_sentence(setting, error))
    if problems:
        raise SettingsError(problems)
    besides = tuple(map(SecretStr, sources.secrets_besides(found)))
    return Settings(**read, further_secrets=besides, given=frozenset(read))


def _declared() -> Iterator[tuple[str, tuple[Setting, object]]]:
    for each in fields(Settings):
        for setting in get_args(each.type)[1:]:
            if isinstance(setting, Setting):
                yield each.name, (setting, None if each.default is MISSING else each.default)


#: The settings by their names, each with its default; the secret has none.
SETTINGS: Final = dict(_declared())


def describe() -> Iterator[Variable]:
    """Every variable with its default, as it would be written, and what it is for."""
    for setting, default in SETTINGS.values():
        shown = None if setting.variable == _SECRET_NAME else written(default)
        yield Variable(setting.variable, shown, setting.description)


def unknown_names(found: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, str, str]]:
    """Variables that are no settings and look like one, each with its source and the setting that may be meant."""
    known = [variable.name for variable in describe()]
    for source, names in found.items():
        for name in sorted(set(names).difference(known, _OTHERS, sources.FORMER_SECRETS)):
            if meant := difflib.get_close_matches(name, known, 1, _ALIKE):
                yield name, source, meant[0]


def written(value: object) -> str:
    """A value as a variable would have it."""
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


def _sentence(setting: Setting, error: NotAllowed) -> str:
    """Say in one line what is wrong; what a secret is, is never said."""
    variable = setting.variable
    if variable == _SECRET_NAME:
        return f"{variable} is not set: put the secret of the web app into the environment or into .env.local"
    if error.words is not None:
        return f"{variable} {error.words}"
    shown = json.dumps(error.value, ensure_ascii=False)
    if len(shown) > _LONGEST_SHOWN:
        shown = shown[:_LONGEST_SHOWN] + "…"
    return f"{variable}: {shown} is not {setting.kind.words}"


def allowed(variable: str) -> str:
    """What a variable's value may be, in the words that end a sentence; empty where there is more to say than a few."""
    return next(setting.kind.words for setting, _ in SETTINGS.values() if setting.variable == variable)
