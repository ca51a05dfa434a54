"""The settings: sources, valid values, and error messages."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from synkora.app.settings import Settings, SettingsError, load_settings
from synkora.app.settings.variables import describe

VARIABLES = [variable.name for variable in describe()]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and an environment with only the secret."""
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NEXTAUTH_SECRET", "s3cret")
    return tmp_path


def load(**variables: str) -> Settings:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        return load_settings()


def refusals(**variables: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(**variables)
    return caught.value.lines


def test_defaults() -> None:
    """With only the secret. Described defaults are tested below; these settings have none, or are off."""
    settings = load_settings()
    assert settings.secret.get_secret_value() == "s3cret"
    off = {name: value for name, value in settings.model_dump(exclude={"secret"}).items() if not value}
    assert off == {
        **dict.fromkeys(("auth_secret", "ssl_certfile", "ssl_keyfile", "state_dir", "metrics_token", "console_token")),
        **dict.fromkeys(("app_url", "database_url", "redis_url", "api_port", "webhook_url")),
        **dict.fromkeys(("further_secrets", "previous_secrets", "trusted_proxies"), ()),
        **dict.fromkeys(("api_tokens", "webhook_secrets"), ()),
        **dict.fromkeys(("session_cookie", "host", "instance", "advertise"), ""),
        **dict.fromkeys(("compression", "admin_ui"), False),
        "shutdown_drain": 0.0,
    }


def test_described_defaults_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_settings()
    for variable in describe():
        if variable.default:
            monkeypatch.setenv(variable.name, variable.default)
    assert load_settings() == before


def test_every_variable_is_described() -> None:
    """Each has its own name and a sentence about it. Only the secret is required."""
    assert len(VARIABLES) == len(set(VARIABLES)) == len(Settings.model_fields) - 1  # further_secrets
    assert all(variable.description.endswith(".") for variable in describe())
    assert [variable.name for variable in describe() if variable.default is None] == ["NEXTAUTH_SECRET"]


def test_environment_wins_over_env_local_over_env(folder: Path) -> None:
    """The first source that has the variable counts."""
    (folder / ".env").write_text("WS_PORT=1\nWS_HOST=one\nLOG_LEVEL=error\n")
    (folder / ".env.local").write_text("WS_PORT=2\nWS_HOST=two\n")
    settings = load(WS_PORT="3")
    assert (settings.port, settings.host, settings.log_level) == (3, "two", "error")


def test_files_of_a_mode(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the app, some files are only for production or development, by SYNKORA_ENV or NODE_ENV."""
    for mode in ("development", "production"):
        (folder / f".env.{mode}").write_text(f"WS_HOST={mode}\nWS_PORT=1\n")
        (folder / f".env.{mode}.local").write_text("WS_PORT=2\n")
    assert (load_settings().host, load_settings().port) == ("development", 2)
    monkeypatch.setenv("NODE_ENV", "production")
    assert load_settings().host == "production"
    (folder / ".env.local").write_text("SYNKORA_ENV=development\nWS_PORT=3\n")
    assert (load_settings().host, load_settings().port) == ("development", 2)


@pytest.mark.parametrize(
    ("spelling", "secret"),
    [
        ("with#hash", "with"),
        ('"with#hash"', "with#hash"),
        (r"a\$b", "a$b"),
        ("a$WS_PATH-b", "a/io/-b"),
        ("'single quotes' # comment", "single quotes"),
    ],
)
def test_a_secret_is_read_like_the_app_does(folder: Path, spelling: str, secret: str) -> None:
    """Comments, escapes, references and quotes have the meaning that they have in Next.js."""
    (folder / ".env").write_text("WS_PATH=/io/\n")
    (folder / ".env.local").write_text(f"WS_PATH=/io/\nNEXTAUTH_SECRET={spelling}\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("NEXTAUTH_SECRET")
        assert load_settings().secret.get_secret_value() == secret


def test_auth_secret_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Auth.js v5 uses this name. If both are set, both are accepted, and so are previous ones."""
    settings = load(AUTH_SECRET="of-v5", AUTH_SECRET_1="former")
    assert (settings.secret.get_secret_value(), settings.accepted_secrets) == ("s3cret", ("of-v5", "former"))
    assert settings.secret_variable == "NEXTAUTH_SECRET"
    monkeypatch.delenv("NEXTAUTH_SECRET")
    settings = load(AUTH_SECRET="of-v5", AUTH_SECRET_1="former")
    assert (settings.secret.get_secret_value(), settings.secret_variable) == ("of-v5", "AUTH_SECRET")


def test_quotes_of_an_environment_file() -> None:
    """Quotes that `docker --env-file` leaves are removed, except from a secret, where the app keeps them."""
    settings = load(NEXTAUTH_SECRET='"quoted"', WS_PORT="'4000'", ALLOWED_ORIGINS='"https://a.test,https://b.test"')
    assert (settings.secret.get_secret_value(), settings.accepted_secrets) == ("quoted", ('"quoted"',))
    assert (settings.port, settings.allowed_origins) == (4000, ("https://a.test", "https://b.test"))


def test_variables_that_look_like_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a caution with its source and the similar setting. The app's own variables are ignored."""
    monkeypatch.setenv("ALLOWED_ORIGIN", "https://app.test")
    (folder / ".env.local").write_text("REDIS_URI=redis://localhost\nNEXTAUTH_URL=https://app.test\nAUTH_SECRET_1=x\n")
    cautions = [line for line in load_settings().cautions() if "no setting" in line]
    assert cautions == [
        "ALLOWED_ORIGIN, from the environment, is no setting of this server's: write ALLOWED_ORIGINS, if that is what "
        "you mean",
        "REDIS_URI, from .env.local, is no setting of this server's: write REDIS_URL, if that is what you mean",
    ]


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WS_PORT", "abc")
    monkeypatch.setenv("WS_HOST", "one")
    settings = load_settings(host="two", port=0)
    assert (settings.port, settings.host) == (0, "two")


def test_unknown_variables_in_files_are_ignored(folder: Path) -> None:
    """The web app's variables may be in the same file."""
    (folder / ".env.local").write_text('DATABASE_URL="postgres://x"\nport=9\nWS_PORT="4000" # a comment\n')
    assert load_settings().port == 4000


def test_empty_is_unset(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any source: the next source or the default applies."""
    for name in VARIABLES:
        if name != "NEXTAUTH_SECRET":
            monkeypatch.setenv(name, "")
    (folder / ".env.local").write_text("WS_HOST=\nWS_PORT=4000\n")
    (folder / ".env").write_text("WS_HOST=local.test\n")
    settings = load_settings()
    assert (settings.port, settings.host, settings.allowed_origins) == (4000, "local.test", ("http://localhost:3000",))


@pytest.mark.parametrize("value", [None, "", "  "])
def test_secret_is_required(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing, empty or blank secret is one line with advice."""
    monkeypatch.delenv("NEXTAUTH_SECRET")
    assert refusals(**({} if value is None else {"NEXTAUTH_SECRET": value})) == [
        "NEXTAUTH_SECRET is not set: put the secret of the web app into the environment or into .env.local"
    ]


def test_secrets_are_used_unchanged_and_never_shown() -> None:
    """Previous secrets are split at commas. The printed settings contain no secret."""
    settings = load(NEXTAUTH_SECRET=" now$1# ", NEXTAUTH_SECRET_PREVIOUS="before+/=, ,long ago")
    assert settings.secret.get_secret_value() == " now$1# "
    assert [secret.get_secret_value() for secret in settings.previous_secrets] == ["before+/=", "long ago"]
    assert not any(secret in f"{settings!r}{settings}" for secret in ("now", "before", "ago"))


def test_secrets_are_not_in_refusals(folder: Path) -> None:
    """Errors of other settings contain no secret, and no password of a URL."""
    with pytest.raises(SettingsError) as caught:
        load(NEXTAUTH_SECRET_PREVIOUS="s3cret-of-before", REDIS_URL="redis://:s3cret/too@localhost", WS_PORT="abc")
    assert "s3cret" not in f"{caught.value}{caught.value.__cause__}{caught.value.lines}"
    assert caught.value.lines == [
        'WS_PORT: "abc" is not a port: a whole number from 0 to 65535',
        "REDIS_URL has a port that is not a number; characters like @ : / ? # in a user or password must be "
        "percent-encoded",
    ]


REACHED_AT = "a host and a port such as 10.0.0.7:3001, or a URL of these such as https://ws-1.example.com:3001"
ORIGIN = (
    "an origin such as https://app.example.com or capacitor://localhost: no path, the host may begin with *., the port "
    "may be *, and * alone is any"
)
PATH = "a path such as /socket.io/: names of letters, digits, ., _, ~ and - between slashes"
SECONDS = "a number of seconds from 0.05 to 3600"
PORT = "a port: a whole number from 0 to 65535"
PROXY = "an address such as 10.0.0.7, a network such as 10.0.0.0/8 or fd00::/8, or unix"
TRANSPORT = "a transport: polling, websocket, or both with a comma between them"


@pytest.mark.parametrize(
    ("name", "value", "shown", "allowed"),
    [
        ("WS_PORT", "abc", "abc", PORT),
        ("WS_PORT", "-1", "-1", PORT),
        ("WS_PORT", "65536", "65536", PORT),
        ("WS_PORT", "80.5", "80.5", PORT),
        ("WS_PORT", "1\n2", "1\\n2", PORT),
        ("WS_PORT", '"', '\\"', PORT),
        ("WS_HOST", "a b", "a b", "an address or a host name"),
        ("WS_HOST", "http://localhost", "http://localhost", "an address or a host name"),
        ("WS_ADVERTISE", "10.0.0.7", "10.0.0.7", REACHED_AT),
        ("WS_ADVERTISE", "10.0.0.7:0", "10.0.0.7:0", REACHED_AT),
        ("WS_ADVERTISE", "ftp://10.0.0.7:3001", "ftp://10.0.0.7:3001", REACHED_AT),
        ("WS_ADVERTISE", "http://10.0.0.7:3001/path", "http://10.0.0.7:3001/path", REACHED_AT),
        ("WS_ADVERTISE", "2001:db8::1:3001", "2001:db8::1:3001", REACHED_AT),
        ("ALLOWED_ORIGINS", "https://a.test,b.test", "b.test", ORIGIN),
        ("ALLOWED_ORIGINS", ",", ",", ORIGIN),
        ("ALLOWED_ORIGINS", "ftp://a.test", "ftp://a.test", ORIGIN),
        ("ALLOWED_ORIGINS", "https://a.test/app", "https://a.test/app", ORIGIN),
        ("ALLOWED_ORIGINS", "https://a.test:99999", "https://a.test:99999", ORIGIN),
        ("ALLOWED_ORIGINS", "https://a.*.test", "https://a.*.test", ORIGIN),
        ("ALLOWED_ORIGINS", "htps://a.test", "htps://a.test", ORIGIN),
        ("ALLOWED_ORIGINS", "localhost:3000", "localhost:3000", ORIGIN),
        ("ALLOWED_ORIGINS", "http://*:3000", "http://*:3000", ORIGIN),
        ("ALLOWED_ORIGINS", "http://localhost:3*", "http://localhost:3*", ORIGIN),
        ("ALLOWED_ORIGINS", "chrome-extension://*", "chrome-extension://*", ORIGIN),
        ("ALLOWED_ORIGINS", "file:///home", "file:///home", ORIGIN),
        ("WS_PATH", "socket.io", "socket.io", PATH),
        ("WS_PATH", "/", "/", PATH),
        ("WS_PATH", "//a", "//a", PATH),
        ("WS_PATH", "/a/../b", "/a/../b", PATH),
        ("WS_PATH", "/a?b", "/a?b", PATH),
        ("WS_PING_INTERVAL", "0", "0", SECONDS),
        ("WS_PING_TIMEOUT", "nan", "nan", SECONDS),
        ("WS_CONNECT_TIMEOUT", "inf", "inf", SECONDS),
        ("WS_UPGRADE_TIMEOUT", "10s", "10s", SECONDS),
        ("SHUTDOWN_TIMEOUT", "-1", "-1", "a number of seconds from 0 to 3600"),
        ("SHUTDOWN_DRAIN", "30s", "30s", "a number of seconds from 0 to 3600"),
        ("WS_TRANSPORTS", "polling,carrier-pigeon", "carrier-pigeon", TRANSPORT),
        ("WS_TRANSPORTS", " , ", " , ", TRANSPORT),
        ("WS_MAX_PAYLOAD", "1023", "1023", "a size in bytes: a whole number from 1024 to 100000000"),
        ("WS_MAX_PAYLOAD", "1MB", "1MB", "a size in bytes: a whole number from 1024 to 100000000"),
        ("WS_MAX_OUTBOX", "65535", "65535", "a size in bytes: a whole number from 65536 to 1000000000"),
        ("WS_COMPRESSION", "maybe", "maybe", "true or false"),
        ("WS_WRITE_INTERVAL", "1", "1", "a number of seconds from 0 to 0.01"),
        ("WS_COMPRESSION_THRESHOLD", "-1", "-1", "a size in bytes: a whole number from 0 to 100000000"),
        ("TRUSTED_PROXIES", "10.0.0.1,proxy.test", "proxy.test", PROXY),
        ("TRUSTED_PROXIES", "10.0.0.0/33", "10.0.0.0/33", PROXY),
        ("TRUSTED_PROXIES", "*", "*", PROXY),
        ("SYNKORA_ENV", "staging", "staging", "development or production"),
        ("LOG_LEVEL", "loud", "loud", "a level: debug, info, warning or error"),
    ],
)
def test_wrong_values(name: str, value: str, shown: str, allowed: str) -> None:
    """One line with the variable, the value, and the allowed values."""
    assert refusals(**{name: value}) == [f'{name}: "{shown}" is not {allowed}']


def test_long_values_are_cut() -> None:
    (line,) = refusals(WS_PORT="x" * 100_000)
    assert len(line) < 200
    assert line.startswith('WS_PORT: "xxx')


def test_several_wrong_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEXTAUTH_SECRET")
    lines = refusals(WS_PORT="abc", LOG_LEVEL="loud")
    assert [line.split()[0].rstrip(":") for line in lines] == ["NEXTAUTH_SECRET", "WS_PORT", "LOG_LEVEL"]


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("WS_HOST", "[::1]", "host", "::1"),
        ("WS_HOST", "0.0.0.0", "host", "0.0.0.0"),  # noqa: S104 - a value to read, nothing listens on it
        (
            "ALLOWED_ORIGINS",
            "HTTPS://App.Test/, http://b.test:3000,https://app.test:443,",
            "allowed_origins",
            ("https://app.test", "http://b.test:3000"),
        ),
        ("ALLOWED_ORIGINS", "https://*.a.test,*", "allowed_origins", ("https://*.a.test", "*")),
        ("ALLOWED_ORIGINS", "http://[::1]:3000", "allowed_origins", ("http://[::1]:3000",)),
        (
            "ALLOWED_ORIGINS",
            "capacitor://localhost,tauri://localhost/,ionic://localhost,app://.,chrome-extension://AbCd,file:///,null",
            "allowed_origins",
            (
                "capacitor://localhost",
                "tauri://localhost",
                "ionic://localhost",
                "app://.",
                "chrome-extension://abcd",
                "file://",
                "null",
            ),
        ),
        (
            "ALLOWED_ORIGINS",
            "http://localhost:*,https://*.a.test:*,wss://b.test",
            "allowed_origins",
            ("http://localhost:*", "https://*.a.test:*", "https://b.test"),
        ),
        (
            "ALLOWED_ORIGINS",
            "https://Bücher.example:443,https://*.straße.de,https://☃.net:8443,https://例。jp",
            "allowed_origins",
            (
                "https://xn--bcher-kva.example",
                "https://*.xn--strae-oqa.de",
                "https://xn--n3h.net:8443",
                "https://xn--fsq.jp",
            ),
        ),
        ("WS_PATH", "/live/sync", "path", "/live/sync/"),
        ("WS_TRANSPORTS", "WebSocket,websocket", "transports", ("websocket",)),
        ("WS_COMPRESSION", "true", "compression", True),
        ("WS_PING_INTERVAL", "0.3", "ping_interval", 0.3),
        ("SHUTDOWN_TIMEOUT", "0", "shutdown_timeout", 0.0),
        ("SHUTDOWN_DRAIN", "30", "shutdown_drain", 30.0),
        ("LOG_LEVEL", "WARNING", "log_level", "warning"),
        ("LOG_FORMAT", "JSON", "log_format", "json"),
        ("SYNKORA_ENV", "Development", "environment", "development"),
        (
            "TRUSTED_PROXIES",
            "10.1.2.3/8, 127.0.0.1,UNIX,::ffff:127.0.0.1,",
            "trusted_proxies",
            ("10.0.0.0/8", "127.0.0.1/32", "unix"),
        ),
    ],
)
def test_right_values(name: str, value: str, field: str, expected: object) -> None:
    """Different notations have the same value."""
    assert getattr(load(**{name: value}), field) == expected


def test_the_largest_message_must_fit_into_the_backlog() -> None:
    """Otherwise the first large message would disconnect all recipients. An equal size is enough."""
    assert refusals(WS_MAX_PAYLOAD="200000", WS_MAX_OUTBOX="199999") == [
        "WS_MAX_OUTBOX: 199999 is less than WS_MAX_PAYLOAD, 200000: "
        "a client that is sent a message of that size would be disconnected"
    ]
    assert load(WS_MAX_PAYLOAD="200000", WS_MAX_OUTBOX="200000").max_outbox == 200_000


def test_a_certificate_needs_its_key() -> None:
    assert refusals(SSL_CERTFILE="server.crt") == ["SSL_CERTFILE is set, but SSL_KEYFILE is not: TLS needs both"]
    assert str(load(SSL_CERTFILE="server.crt", SSL_KEYFILE="server.key").ssl_keyfile) == "server.key"


@pytest.mark.parametrize(
    ("access", "variable", "value"),
    [("http", "APP_URL", "http://localhost:3000"), ("postgres", "DATABASE_URL", "postgresql://u:p@localhost/app")],
)
def test_an_access_policy_needs_its_address(access: str, variable: str, value: str) -> None:
    """A password in the address is never shown."""
    (refusal,) = refusals(PROJECT_ACCESS=access)
    assert refusal == f"PROJECT_ACCESS is {access}, but {variable} is not set: it is where to ask"
    settings = load(PROJECT_ACCESS=access, **{variable: value})
    assert settings.project_access == access
    assert "u:p" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    ["redis://:p4ss@redis.test:6380/2", "rediss://ann:p4ss@redis.test", "unix://:p4ss@/run/redis.sock?db=1"],
)
def test_redis_urls_of_all_kinds_are_accepted(url: str) -> None:
    """Over TCP, TLS or a Unix socket. A password is never shown."""
    settings = load(REDIS_URL=url)
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == url
    assert "p4ss" not in f"{settings!r}{settings}"


@pytest.mark.parametrize("prefix", ["a b", "a#b", "a*", "[a]", "a\n", "ä", "x" * 101])
def test_prefixes_that_could_mean_several_channels_are_refused(prefix: str) -> None:
    """Node.js' adapter uses prefixes in patterns, and a # ends them."""
    (refusal,) = refusals(REDIS_PREFIX=prefix)
    assert refusal.startswith("REDIS_PREFIX: ")
    assert refusal.endswith(" is not 1 to 100 letters, digits, ., _, : and -")


@pytest.mark.parametrize(
    "token", ["short", "fifteen-letters", "a token with blanks in it", "ein-schlüssel-mit-umlaut", " "]
)
def test_a_console_token_is_long(token: str) -> None:
    """It has characters that a browser can send. The message says how to make one, and does not show the value."""
    (refusal,) = refusals(CONSOLE_TOKEN=token)
    assert refusal.startswith("CONSOLE_TOKEN must have 16 characters or more")
    assert "openssl" in refusal
    assert token.strip() == "" or token not in refusal
    settings = load(CONSOLE_TOKEN="sixteen-letters!")
    assert settings.console_token is not None
    assert "sixteen" not in f"{settings!r}{settings}"


def test_api_tokens_are_long() -> None:
    """Each of them. The refusal does not show the token."""
    (refusal,) = refusals(API_TOKEN="sixteen-letters!,short")
    assert refusal.startswith("API_TOKEN must have 16 characters or more")
    assert "short" not in refusal
    tokens = load(API_TOKEN="sixteen-letters!, another-sixteen-or-more").api_tokens
    assert [token.get_secret_value() for token in tokens] == ["sixteen-letters!", "another-sixteen-or-more"]


def test_an_api_port_without_a_token_does_nothing() -> None:
    assert load(API_PORT="3002").cautions()[-1] == "API_PORT does nothing without API_TOKEN: there is no API"


def test_an_outbox_needs_its_database_and_recovery() -> None:
    (refusal,) = refusals(PUBLISH_FROM="postgres")
    assert refusal == "PUBLISH_FROM is postgres, but DATABASE_URL is not set: it is where the outbox is"
    (refusal,) = refusals(PUBLISH_FROM="postgres", DATABASE_URL="postgresql://localhost/app", RECOVERY="false")
    assert refusal == "PUBLISH_FROM is postgres, but RECOVERY is false: a row might be published twice"


SECRET = "whsec_" + "c2VjcmV0" * 4


@pytest.mark.parametrize("url", ["app.example.com/hook", "ftp://hunter2.example/", "https://x/#hunter2", "http://x:0"])
def test_a_webhook_url_is_an_address(url: str) -> None:
    """The refusal does not show it: it may hold a password."""
    (refusal,) = refusals(WEBHOOK_URL=url)
    assert refusal == "WEBHOOK_URL must be an address like https://app.example.com/api/synkora, without #"


@pytest.mark.parametrize("secret", ["c2VjcmV0" * 4, "whsec_c2VjcmV0", "whsec_not-base64" * 4, f"{SECRET},whsec_"])
def test_a_webhook_secret_is_one_of_standard_webhooks(secret: str) -> None:
    (refusal,) = refusals(WEBHOOK_SECRET=secret)
    assert refusal.startswith("WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64")
    assert "c2Vj" not in refusal


def test_webhooks_need_a_secret_and_an_address() -> None:
    url, secrets = "https://app.example.com/api/synkora", f"{SECRET}, {SECRET}Cg=="
    (refusal,) = refusals(WEBHOOK_URL=url)
    assert refusal == "WEBHOOK_URL is set, but WEBHOOK_SECRET is not: the app could not tell who writes to it"
    assert len(load(WEBHOOK_URL=url, WEBHOOK_SECRET=secrets).webhook_secrets) == 2
    caution = "WEBHOOK_SECRET does nothing without WEBHOOK_URL: there are no webhooks"
    assert load(WEBHOOK_SECRET=secrets).cautions()[-1] == caution


def test_the_admin_ui_has_a_password() -> None:
    """It cannot be turned on without one."""
    assert refusals(ADMIN_UI="true") == ["ADMIN_UI is true, but CONSOLE_TOKEN is not set: it is the password"]
    assert load(ADMIN_UI="true", CONSOLE_TOKEN="sixteen-characters").admin_ui


@pytest.mark.parametrize("name", ["a.b", "a b", "a/b", "ä", "x" * 64])
def test_names_of_instances_that_a_proxy_could_mistake_are_refused(name: str) -> None:
    """A dot ends the name within a session's id, and the id is part of a query."""
    (refusal,) = refusals(WS_INSTANCE=name)
    assert refusal.startswith("WS_INSTANCE: ")
    assert refusal.endswith(" is not up to 63 letters, digits, _ and -")


def test_production_refuses_a_weak_secret() -> None:
    """A caution in development is an error in production. Neither shows the secret."""
    (caution,) = load_settings().cautions()
    assert refusals(SYNKORA_ENV="production") == [f"SYNKORA_ENV is production, and {caution}"]
    assert "s3cret" not in caution


def test_file_in_another_encoding(folder: Path) -> None:
    """The error names the file, without a traceback."""
    (folder / ".env.local").write_bytes("WS_HOST=caf\xe9\n".encode("latin-1"))
    assert refusals() == [".env.local, or another file of variables, is not text in UTF-8"]


def test_settings_are_frozen() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]  # this is what must fail


def test_example_file_names_every_variable() -> None:
    """`.env.example` has each variable with its description and default. The secret is left to fill in."""
    example = Path(__file__).parents[3].joinpath(".env.example").read_text(encoding="utf-8")
    paragraphs = [" ".join(part.replace("\n# ", " ").split("\n")) for part in example.strip().split("\n\n")]
    assert paragraphs[1:] == [
        f"# {variable.description} {variable.name}="
        if variable.default is None
        else f"# {variable.description} #{variable.name}={variable.default}"
        for variable in describe()
    ]
