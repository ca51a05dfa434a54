"""The kinds of value that settings have: what is taken, how it is normalised, and how a refusal words it."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from synkora.engine.addresses import UNIX, parse_network
from synkora.engine.origins import ANYBODYS, normal
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
_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{0,200}")  # RFC 6265, section 4.1.1
_NAME = re.compile(r"[A-Za-z0-9_-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9._-]*|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?")

_Number = TypeVar("_Number", int, float)

_TRUE = frozenset(("1", "on", "t", "true", "y", "yes"))
_FALSE = frozenset(("0", "off", "f", "false", "n", "no"))

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
Transport = Literal["polling", "websocket"]
Environment = Literal["development", "production"]
Access = Literal["open", "http", "postgres"]


class NotAllowed(Exception):
    """A value that a setting does not take; `words` say why, where the kind's own words would not do."""

    def __init__(self, value: str, words: str | None = None) -> None:
        super().__init__(words or "not allowed")
        self.value = value
        self.words = words


class SecretStr:
    """A string that is never shown when something prints it."""

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """The string itself."""
        return self._value

    def __repr__(self) -> str:
        return "SecretStr('**********')"

    def __str__(self) -> str:
        return "**********"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretStr) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class Kind:
    """How the text of a variable is read, and what it may be: `words` end the sentence `"x" is not …`.

    `read` raises `NotAllowed`.
    """

    read: Callable[[str], object]
    words: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting's variable, its kind, and a sentence about what it is for."""

    variable: str
    kind: Kind
    description: str


def _many(read: Callable[[str], object]) -> Callable[[str], object]:
    """Several values with commas between them, each once."""

    def read_all(text: str) -> tuple[object, ...]:
        return tuple(dict.fromkeys(read(item.strip()) for item in text.split(",") if item.strip()))

    return read_all


def _some(read: Callable[[str], object]) -> Callable[[str], object]:
    """As `_many`, but at least one."""
    read_all = _many(read)

    def read_some(text: str) -> object:
        return read_all(text) or _refuse(text)

    return read_some


def _refuse(value: str) -> NoReturn:
    raise NotAllowed(value)


def _one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        word = text.strip().lower()
        return word if word in known else _refuse(word)

    return read


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    return lambda text: text if pattern.fullmatch(text) else _refuse(text)


def _whole(least: int, most: int) -> Callable[[str], int]:
    return _number(int, least, most)


def _real(least: float, most: float) -> Callable[[str], float]:
    return _number(float, least, most)


def _number(read: Callable[[str], _Number], least: _Number, most: _Number) -> Callable[[str], _Number]:
    def read_number(text: str) -> _Number:
        try:
            number = read(text)
        except ValueError:
            _refuse(text)
        return number if least <= number <= most else _refuse(text)  # NaN is in no range

    return read_number


def _flag(text: str) -> bool:
    word = text.strip().lower()
    return word in _TRUE or (word not in _FALSE and _refuse(text))


def _filled(text: str) -> SecretStr:
    return SecretStr(text) if text.strip() else _refuse(text)


def _origin(value: str) -> str:
    """Write an origin as browsers do: its host in lower case and ASCII, no slash, no default port."""
    origin = _in_ascii(value).lower()
    if origin == "*" or origin in ANYBODYS:
        return origin
    if origin == "file:///":
        return "file://"
    match = _ORIGIN.fullmatch(origin) or _HOSTLESS.fullmatch(origin)
    if match is None or not _is_scheme(match["scheme"]):
        _refuse(value)
    port = match.groupdict().get("port") or ""
    if port[1:].isdigit():
        if not 1 <= int(port[1:]) <= 65535:
            _refuse(value)
        port = f":{int(port[1:])}"
    return normal(f"{match['scheme']}://{match['host']}{port}")


def _is_scheme(scheme: str) -> bool:
    """Whether pages can have it: that of an app may be any, but for a slip of the pen."""
    known = ("http", "https", "ws", "wss")
    return scheme in known or not (scheme in _NO_PAGES or difflib.get_close_matches(scheme, known, 1, 0.75))


def _in_ascii(origin: str) -> str:
    """An internationalised name as browsers send it (UTS 46, section 4.2: ToASCII)."""
    if origin.isascii():
        return origin
    import idna  # its tables take time to load, and few names need them

    scheme, colon, rest = origin.partition("://")
    try:
        labels = idna.uts46_remap(rest, std3_rules=False, transitional=False).split(".")
    except idna.IDNAError:
        _refuse(origin)
    written = (label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in labels)
    return scheme + colon + ".".join(written)


def _path(value: str) -> str:
    if not _PATH.fullmatch(value):
        _refuse(value)
    return value if value.endswith("/") else value + "/"


def _host(value: str) -> str:
    bare = value.strip().removeprefix("[").removesuffix("]")
    if not _HOST.fullmatch(bare):
        _refuse(value)
    return bare


def _proxy(value: str) -> str:
    if value.lower() == UNIX:
        return UNIX
    try:
        return str(parse_network(value))
    except ValueError:
        _refuse(value)


def _redis(text: str) -> SecretStr:
    try:
        RedisUrl.parse(text)
    except ValueError as error:
        raise NotAllowed(text, str(error)) from None
    return SecretStr(text)


def _console_token(text: str) -> SecretStr:
    if not _CONSOLE_TOKEN.fullmatch(text):
        raise NotAllowed(
            text, "must have 16 characters or more, of ASCII and without blanks: openssl rand -base64 32 makes one"
        )
    return SecretStr(text)


_SECONDS = "a number of seconds from {} to 3600"
_SIZE = "a size in bytes: a whole number from {} to {}"

TEXT = Kind(str)
SECRET = Kind(_filled, "a secret: it is blank")
SECRET_TEXT = Kind(SecretStr)
SECRETS = Kind(_many(SecretStr))
FLAG = Kind(_flag, "true or false")
LOG_LEVEL = Kind(_one_of("debug", "info", "warning", "error"), "a level: debug, info, warning or error")
LOG_FORMAT = Kind(_one_of("text", "json"), "text or json")
PORT = Kind(_whole(0, 65535), "a port: a whole number from 0 to 65535")
HOST = Kind(_host, "an address or a host name")
PATH = Kind(_path, "a path such as /socket.io/: names of letters, digits, ., _, ~ and - between slashes")
ORIGINS = Kind(
    _some(_origin),
    "an origin such as https://app.example.com or capacitor://localhost: no path, the host may begin with *., the "
    "port may be *, and * alone is any",
)
PROXIES = Kind(_many(_proxy), "an address such as 10.0.0.7, a network such as 10.0.0.0/8 or fd00::/8, or unix")
ENVIRONMENT = Kind(_one_of("development", "production"), "development or production")
CONSOLE_TOKEN = Kind(_console_token)
REDIS = Kind(_redis)
PREFIX = Kind(_matching(_PREFIX), "1 to 100 letters, digits, ., _, : and -")
COOKIE_NAME = Kind(_matching(_COOKIE_NAME), "the name of a cookie, without blanks, ; , and =")
NAME = Kind(_matching(_NAME), "up to 63 letters, digits, _ and -")
FILE = Kind(Path, "the path of a file")
TRANSPORTS = Kind(
    _some(_one_of("polling", "websocket")), "a transport: polling, websocket, or both with a comma between them"
)
COUNT = Kind(_whole(0, 1_000_000), "a whole number from 0, which is no limit, to 1000000")
BYTE_RATE = Kind(_real(0, 1_000_000_000), "a number of bytes a second from 0, which is no limit, to 1000000000")
RATE = Kind(_real(0, 1_000_000), "a number a second from 0, which is no limit, to 1000000")
ACCESS = Kind(_one_of("open", "http", "postgres"), "one of open, http and postgres")
INTERVAL = Kind(_real(0.05, 3600), _SECONDS.format("0.05"))
GRACE_PERIOD = Kind(_real(0, 3600), _SECONDS.format("0"))
PAYLOAD_SIZE = Kind(_whole(1024, 100_000_000), _SIZE.format(1024, 100000000))
THRESHOLD = Kind(_whole(0, 100_000_000), _SIZE.format(0, 100000000))
OUTBOX_SIZE = Kind(_whole(65_536, 1_000_000_000), _SIZE.format(65536, 1000000000))
