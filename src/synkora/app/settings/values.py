"""The types of settings: validation, normalisation, and the text of a refusal."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from synkora.app.webhooks.signing import parse_secret
from synkora.engine.addresses import UNIX, parse_network
from synkora.engine.origins import OPAQUE_ORIGINS, normalized
from synkora.redis.url import RedisUrl

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?P<host>(?:\*\.)?[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\])"
    r"(?P<port>:(?:\*|[0-9]{1,5}))?/?"
)
_HOSTLESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\.)/?")  # Electron's app://.
_NO_PAGES = ("about", "blob", "data", "ftp", "javascript")
_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?")
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_CONSOLE_TOKEN = re.compile(r"[!-~]{16,}")
_REACHED_AT = re.compile(r"(?:https?://)?(?:[a-z0-9._-]+|\[[0-9a-f:.]+\]):(?P<port>[0-9]{1,5})")
_VISIBLE = re.compile(r"[!-~]+")
_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{0,200}")  # RFC 6265, section 4.1.1
_NAME = re.compile(r"[A-Za-z0-9_-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9._-]*|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?")

_Item = TypeVar("_Item")


def setting(variable: str, default: object, description: str) -> Any:
    """A field of a group of settings; its default is `...` if the variable is required."""
    return Field(default, validation_alias=variable, description=description)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The allowed values, as the end of the sentence `"x" is not …`."""

    words: str


def _refusal(value: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "not allowed", {"value": value})


def _items(value: object) -> object:
    return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value


def _some_items(value: object) -> object:
    items = _items(value)
    if not items:
        raise _refusal(str(value))
    return items


def _distinct(values: tuple[_Item, ...]) -> tuple[_Item, ...]:
    return tuple(dict.fromkeys(values))


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _filled(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().strip():
        raise PydanticCustomError("missing", "blank")
    return value


def _origin(value: str) -> str:
    """Normalise an origin like browsers: host in lower case and ASCII, no slash, no default port."""
    origin = _in_ascii(value).lower()
    if origin == "*" or origin in OPAQUE_ORIGINS:
        return origin
    if origin == "file:///":
        return "file://"
    match = _ORIGIN.fullmatch(origin) or _HOSTLESS.fullmatch(origin)
    if match is None or not _is_scheme(match["scheme"]):
        raise _refusal(value)
    port = match.groupdict().get("port") or ""
    if port[1:].isdigit():
        if not 1 <= int(port[1:]) <= 65535:
            raise _refusal(value)
        port = f":{int(port[1:])}"
    return normalized(f"{match['scheme']}://{match['host']}{port}")


def _is_scheme(scheme: str) -> bool:
    """Whether a scheme is allowed: an app's scheme may be any, except for likely typing errors."""
    known = ("http", "https", "ws", "wss")
    return scheme in known or not (scheme in _NO_PAGES or difflib.get_close_matches(scheme, known, 1, 0.75))


def _in_ascii(origin: str) -> str:
    """Return an internationalised name as browsers send it (UTS 46, section 4.2: ToASCII)."""
    if origin.isascii():
        return origin
    import idna  # its tables load slowly, and few names need them

    scheme, colon, rest = origin.partition("://")
    try:
        labels = idna.uts46_remap(rest, std3_rules=False, transitional=False).split(".")
    except idna.IDNAError:
        raise _refusal(origin) from None
    written = (label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in labels)
    return scheme + colon + ".".join(written)


def _path(value: str) -> str:
    if not _PATH.fullmatch(value):
        raise _refusal(value)
    return value if value.endswith("/") else value + "/"


def _host(value: str) -> str:
    bare = value.strip().removeprefix("[").removesuffix("]")
    if not _HOST.fullmatch(bare):
        raise _refusal(value)
    return bare


def _reached_at(value: str) -> str:
    place = value.strip().lower().removesuffix("/")
    match = _REACHED_AT.fullmatch(place)
    if place and (match is None or not 1 <= int(match["port"]) <= 65535):
        raise _refusal(value)
    return place


def _proxy(value: str) -> str:
    if value.lower() == UNIX:
        return UNIX
    try:
        return str(parse_network(value))
    except ValueError:
        raise _refusal(value) from None


def _redis(value: SecretStr) -> SecretStr:
    try:
        RedisUrl.parse(value.get_secret_value())
    except ValueError as error:
        raise PydanticCustomError("redis", "not a Redis", {"words": str(error)}) from None
    return value


def _console_token(value: SecretStr) -> SecretStr:
    if not _CONSOLE_TOKEN.fullmatch(value.get_secret_value()):
        words = "must have 16 characters or more, of ASCII and without blanks: openssl rand -base64 32 makes one"
        raise PydanticCustomError("weak", "not a token", {"words": words})
    return value


def _api_tokens(values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    return tuple(map(_console_token, values))


def _webhook_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and "#" not in url
    except ValueError:
        whole = False
    if not whole or not _VISIBLE.fullmatch(url):
        words = "must be an address like https://app.example.com/api/synkora, without #"
        raise PydanticCustomError("webhook", "not an address", {"words": words})
    return value


def _webhook_secrets(values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for value in values:
        try:
            parse_secret(value.get_secret_value())
        except ValueError:
            words = 'must be whsec_ and 24 to 64 bytes in base64: echo "whsec_$(openssl rand -base64 32)" makes one'
            raise PydanticCustomError("webhook", "not a secret", {"words": words}) from None
    return values


def _prefix(value: str) -> str:
    if not _PREFIX.fullmatch(value):
        raise _refusal(value)
    return value


def _cookie_name(value: str) -> str:
    if not _COOKIE_NAME.fullmatch(value):
        raise _refusal(value)
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise _refusal(value)
    return value


LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
Transport = Literal["polling", "websocket"]

SecretValue = Annotated[SecretStr, AfterValidator(_filled)]
SecretsValue = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_items)]
FlagValue = Annotated[bool, Allowed("true or false")]
LevelValue = Annotated[LogLevel, BeforeValidator(_lower), Allowed("a level: debug, info, warning or error")]
FormatValue = Annotated[LogFormat, BeforeValidator(_lower), Allowed("text or json")]
PortValue = Annotated[int, Field(ge=0, le=65535), Allowed("a port: a whole number from 0 to 65535")]
ApiPortValue = Annotated[int, Field(ge=1, le=65535), Allowed("a port: a whole number from 1 to 65535")] | None
HostValue = Annotated[str, AfterValidator(_host), Allowed("an address or a host name")]
PathValue = Annotated[
    str,
    AfterValidator(_path),
    Allowed("a path such as /socket.io/: names of letters, digits, ., _, ~ and - between slashes"),
]
OriginsValue = Annotated[
    tuple[Annotated[str, AfterValidator(_origin)], ...],
    NoDecode,
    BeforeValidator(_some_items),
    AfterValidator(_distinct),
    Allowed(
        "an origin such as https://app.example.com or capacitor://localhost: no path, the host may begin with *., the "
        "port may be *, and * alone is any"
    ),
]
ProxiesValue = Annotated[
    tuple[Annotated[str, AfterValidator(_proxy)], ...],
    NoDecode,
    BeforeValidator(_items),
    AfterValidator(_distinct),
    Allowed("an address such as 10.0.0.7, a network such as 10.0.0.0/8 or fd00::/8, or unix"),
]
EnvironmentValue = Annotated[
    Literal["development", "production"], BeforeValidator(_lower), Allowed("development or production")
]
TokenValue = Annotated[SecretStr, AfterValidator(_filled)] | None
ConsoleTokenValue = Annotated[SecretStr, AfterValidator(_console_token)] | None
ApiTokensValue = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_items), AfterValidator(_api_tokens)]
WebhookUrlValue = Annotated[SecretStr, AfterValidator(_webhook_url)] | None
WebhookSecretsValue = Annotated[
    tuple[SecretStr, ...], NoDecode, BeforeValidator(_items), AfterValidator(_webhook_secrets)
]
RedisValue = Annotated[SecretStr, AfterValidator(_redis)] | None
PrefixValue = Annotated[str, AfterValidator(_prefix), Allowed("1 to 100 letters, digits, ., _, : and -")]
CookieNameValue = Annotated[
    str, AfterValidator(_cookie_name), Allowed("the name of a cookie, without blanks, ; , and =")
]
AdvertiseValue = Annotated[
    str,
    AfterValidator(_reached_at),
    Allowed("a host and a port such as 10.0.0.7:3001, or a URL of these such as https://ws-1.example.com:3001"),
]
NameValue = Annotated[str, AfterValidator(_name), Allowed("up to 63 letters, digits, _ and -")]
FileValue = Annotated[Path | None, Allowed("the path of a file")]
FolderValue = Annotated[Path | None, Allowed("the path of a folder")]
TransportsValue = Annotated[
    tuple[Annotated[Transport, BeforeValidator(_lower)], ...],
    NoDecode,
    BeforeValidator(_some_items),
    AfterValidator(_distinct),
    Allowed("a transport: polling, websocket, or both with a comma between them"),
]
CountValue = Annotated[int, Field(ge=0, le=1_000_000), Allowed("a whole number from 0, which is no limit, to 1000000")]
ByteRateValue = Annotated[
    float,
    Field(ge=0, le=1_000_000_000),
    Allowed("a number of bytes a second from 0, which is no limit, to 1000000000"),
]
RateValue = Annotated[
    float, Field(ge=0, le=1_000_000), Allowed("a number a second from 0, which is no limit, to 1000000")
]
AccessValue = Annotated[
    Literal["open", "http", "postgres"],
    BeforeValidator(_lower),
    Allowed("one of open, http and postgres"),
]
PublishFromValue = Annotated[Literal["none", "postgres"], BeforeValidator(_lower), Allowed("none or postgres")]
IntervalValue = Annotated[float, Field(ge=0.05, le=3600), Allowed("a number of seconds from 0.05 to 3600")]
WriteIntervalValue = Annotated[float, Field(ge=0, le=0.01), Allowed("a number of seconds from 0 to 0.01")]
GracePeriodValue = Annotated[float, Field(ge=0, le=3600), Allowed("a number of seconds from 0 to 3600")]
WorkersValue = Annotated[
    Annotated[int, Field(ge=1, le=256)] | Literal["auto"],
    BeforeValidator(_lower),
    Allowed("auto, or a whole number from 1 to 256"),
]
AwayValue = Annotated[float, Field(ge=1, le=604_800), Allowed("a number of seconds from 1 to 604800")]
KeptCountValue = Annotated[int, Field(ge=1, le=1_000_000), Allowed("a whole number from 1 to 1000000")]
KeptSizeValue = Annotated[
    int, Field(ge=1024, le=10_000_000_000), Allowed("a size in bytes: a whole number from 1024 to 10000000000")
]
PayloadSizeValue = Annotated[
    int, Field(ge=1024, le=100_000_000), Allowed("a size in bytes: a whole number from 1024 to 100000000")
]
ThresholdValue = Annotated[
    int, Field(ge=0, le=100_000_000), Allowed("a size in bytes: a whole number from 0 to 100000000")
]
OutboxSizeValue = Annotated[
    int, Field(ge=65_536, le=1_000_000_000), Allowed("a size in bytes: a whole number from 65536 to 1000000000")
]
