"""The URL of Redis: the address and options of Redis, of its Sentinels, or of a Redis Cluster."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from synkora.service_url import ESCAPE, host_and_port

_PORT: Final = 6379
_SENTINEL_PORT: Final = 26_379
_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_BEGINNINGS: Final = "must begin with redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster://"
_TLS_OPTIONS: Final = (
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
    "ssl_password",
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that speaks Redis' protocol: host and port, or `path`, a Unix socket. `ssl` is None without TLS."""

    host: str
    port: int
    path: str | None
    user: str | None
    password: str | None = field(repr=False)
    ssl: ssl.SSLContext | None

    @property
    def address(self) -> str:
        """The address for the log."""
        if self.path is not None:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def at(self, host: str, port: int) -> "Server":
        """Return another server with the same user, password and TLS."""
        return replace(self, host=host, port=port)


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """What the URL says. `servers` are one Redis, nodes of a Cluster, or Sentinels that know `master`.

    `redis` has the user, the password and the TLS of the Redis itself, and the address of the first of `servers`.
    """

    redis: Server
    servers: tuple[Server, ...]
    database: int
    master: str | None = None
    is_cluster: bool = False

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read one of these forms, or the first two with `rediss` (TLS). In brackets is what may be left out.

        - `redis://[[user]:password@]host[:port][/database]`, or `redis+cluster://…` with one host or several and
          without a database
        - `redis+sentinel://[[user]:password@]host[:port],host[:port],…/master[/database]`
        - `unix://[[user]:password@]/path[?db=database]`

        Options after a `?` are `db`, `username`, `password`, and, with TLS, `ssl_cert_reqs` (required, none),
        `ssl_check_hostname`, `ssl_ca_certs`, `ssl_ca_path`, `ssl_certfile`, `ssl_keyfile` and `ssl_password`. Sentinels
        have `sentinel_username` and `sentinel_password` of their own, and the same TLS, unless `sentinel_tls` is false.
        Other programs' options are ignored. Raises `ValueError` with a message that contains no part of the URL.
        """
        try:
            parts = urlsplit(url)
            options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        except ValueError:
            raise ValueError("is not a URL" + ESCAPE) from None
        if parts.scheme not in _SCHEMES:
            raise ValueError(_BEGINNINGS)
        if parts.fragment:
            raise ValueError("must not have a #" + ESCAPE)
        scheme, _, kind = parts.scheme.partition("+")
        credentials, _, addresses = parts.netloc.rpartition("@")
        user, password = _credentials(credentials, options)
        hosts = [host_and_port(each, _SENTINEL_PORT if kind == "sentinel" else _PORT) for each in addresses.split(",")]
        path = _socket_path(parts, hosts[0][0]) if scheme == "unix" else None
        if kind and not all(host for host, _ in hosts):
            raise ValueError("must name a host before each port and between commas")
        if not kind and len(hosts) > 1:
            raise ValueError("names several servers: Sentinels take redis+sentinel://, a Cluster redis+cluster://")
        place = [unquote(part) for part in parts.path.split("/")[1:]] if path is None else []
        master = _master(place) if kind == "sentinel" else None
        database = _database(options.get("db", "/".join(place).strip("/")))
        if kind == "cluster" and database:
            raise ValueError("names a database, and a Redis Cluster has none")
        redis = Server(hosts[0][0] or "localhost", hosts[0][1], path, user, password, _tls(scheme, options))
        asked = _sentinel(redis, options) if master is not None else redis
        servers = tuple(asked.at(host or "localhost", port) for host, port in hosts)
        return cls(redis, servers, database, master, kind == "cluster")

    @property
    def address(self) -> str:
        """The addresses for the log and for operators."""
        return ", ".join(server.address for server in self.servers)


def _master(place: list[str]) -> str:
    """Remove the master's name from the parts of the path, and return the name."""
    if not place or not place[0]:
        raise ValueError("must name the master that the Sentinels watch, as in redis+sentinel://host:26379/mymaster")
    return place.pop(0)


def _sentinel(redis: Server, options: Mapping[str, str]) -> Server:
    user, password = options.get("sentinel_username") or None, options.get("sentinel_password") or None
    if user and not password:
        raise ValueError("has a sentinel_username without a sentinel_password")
    tls = redis.ssl if _flag("sentinel_tls", options) else None
    return replace(redis, user=user, password=password, ssl=tls)


def _credentials(credentials: str, options: Mapping[str, str]) -> tuple[str | None, str | None]:
    name, _, secret = credentials.partition(":")
    user = unquote(name) or options.get("username") or None
    password = unquote(secret) or options.get("password") or None
    if user and not password:
        raise ValueError("has a user without a password; a password alone is written redis://:password@host")
    return user, password


def _socket_path(parts: SplitResult, host: str) -> str:
    path = unquote(parts.path)
    if host or len(path) < len("/x") or "\0" in path:
        raise ValueError("must give a Unix socket by its whole path, as in unix:///run/redis/redis.sock")
    return path


def _database(number: str) -> int:
    if not number:
        return 0
    if not (number.isascii() and number.isdigit()):
        raise ValueError("has a database that is not a number" + ESCAPE)
    return int(number)


def _tls(scheme: str, options: Mapping[str, str]) -> ssl.SSLContext | None:
    given = [name for name in options if name.startswith("ssl_")]
    if not set(given) <= set(_TLS_OPTIONS):
        raise ValueError(f"has an ssl_ option that is not known; known are {', '.join(_TLS_OPTIONS)}")
    if scheme != "rediss":
        if given:
            raise ValueError("has ssl_ options without TLS, which is for URLs that begin with rediss://")
        return None
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path"))
        if "ssl_certfile" in options:
            # An empty password keeps OpenSSL from asking on the terminal.
            context.load_cert_chain(
                options["ssl_certfile"], options.get("ssl_keyfile"), lambda: options.get("ssl_password", "")
            )
    except OSError:
        raise ValueError("names certificate or key files that cannot be read (ssl_ca_certs, ssl_certfile …)") from None
    context.check_hostname = _check_hostname(options)
    context.verify_mode = _verify_mode(options)
    return context


def _verify_mode(options: Mapping[str, str]) -> ssl.VerifyMode:
    value = options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if value not in ("none", "optional", "required"):
        raise ValueError("has an ssl_cert_reqs that is neither required nor none")
    # A server always sends a certificate, so `optional` means `required` for a client.
    return ssl.CERT_NONE if value == "none" else ssl.CERT_REQUIRED


def _check_hostname(options: Mapping[str, str]) -> bool:
    return _flag("ssl_check_hostname", options) and _verify_mode(options) is not ssl.CERT_NONE


def _flag(name: str, options: Mapping[str, str]) -> bool:
    value = options.get(name, "true").lower()
    if value not in ("true", "1", "yes", "false", "0", "no"):
        raise ValueError(f"has an option {name} that is neither true nor false")
    return value in ("true", "1", "yes")
