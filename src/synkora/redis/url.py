"""`REDIS_URL`: the address and options of Redis."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from synkora.redis.errors import NO_CLUSTER
from synkora.service_url import ESCAPE, host_and_port

_PORT: Final = 6379
_SCHEMES: Final = ("redis", "rediss", "unix")
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
class RedisUrl:
    """The address of Redis: host and port, or `path`, a Unix socket. `ssl` is None without TLS."""

    host: str
    port: int
    path: str | None
    user: str | None
    password: str | None = field(repr=False)
    database: int
    ssl: ssl.SSLContext | None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `redis://[[user]:password@]host[:port][/database]`, `rediss://…` (TLS), or `unix://[…@]/path?db=…`.

        Options after a `?` are `db`, `username`, `password` and, with TLS, `ssl_cert_reqs` (required, none),
        `ssl_check_hostname`, `ssl_ca_certs`, `ssl_ca_path`, `ssl_certfile`, `ssl_keyfile` and `ssl_password`; other
        programs' options are ignored. Raises `ValueError` with a message that contains no part of the URL.
        """
        try:
            parts = urlsplit(url)
            options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        except ValueError:
            raise ValueError("is not a URL" + ESCAPE) from None
        if "sentinel" in parts.scheme or "cluster" in parts.scheme:
            raise ValueError(f"must begin with redis://, rediss:// or unix://: {NO_CLUSTER}")
        if parts.scheme not in _SCHEMES:
            raise ValueError("must begin with redis://, rediss:// or unix://")
        if parts.fragment:
            raise ValueError("must not have a #" + ESCAPE)
        credentials, _, address = parts.netloc.rpartition("@")
        user, password = _credentials(credentials, options)
        if "," in address:
            raise ValueError(f"names several servers: {NO_CLUSTER}")
        host, port = host_and_port(address, _PORT)
        path = _socket_path(parts, host) if parts.scheme == "unix" else None
        return cls(
            host=host or "localhost",
            port=port,
            path=path,
            user=user,
            password=password,
            database=_database(options.get("db", "" if path else parts.path.strip("/"))),
            ssl=_tls(parts.scheme, options),
        )

    @property
    def address(self) -> str:
        """The address for the log."""
        if self.path is not None:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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
    value = options.get("ssl_check_hostname", "true").lower()
    if value not in ("true", "1", "yes", "false", "0", "no"):
        raise ValueError("has an ssl_check_hostname that is neither true nor false")
    return value in ("true", "1", "yes") and _verify_mode(options) is not ssl.CERT_NONE
