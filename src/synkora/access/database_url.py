"""The app's `DATABASE_URL`, in Prisma's format."""

import ssl
from dataclasses import dataclass, field
from typing import Final, Literal, Self, cast
from urllib.parse import parse_qs, unquote, urlsplit

from synkora.service_url import ESCAPE, host_and_port

_CONNECTIONS: Final = 5
_PORT: Final = 5432

Encryption = Literal["disable", "allow", "prefer", "require"]
_UNVERIFIED: Final = ("disable", "allow", "prefer", "require")


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Address and options of the database; `host` may be a directory with a Unix socket."""

    host: str
    port: int
    user: str | None
    password: str | None = field(repr=False)
    database: str | None
    schema: str
    connections: int
    pgbouncer: bool
    ssl: ssl.SSLContext | Encryption

    @property
    def quoted_schema(self) -> str:
        """The schema, for use in queries."""
        return '"' + self.schema.replace('"', '""') + '"'

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse a URL. Its parameters `schema` (default public), `connection_limit` (5), `pgbouncer`, `host`, `sslmode`
        (prefer), `sslaccept=strict` with `sslcert`, and `sslrootcert` are used; Prisma's other parameters are ignored.

        Raises `ValueError` with a message that contains no part of the URL.
        """
        try:
            parts = urlsplit(url)
            parameters = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        except ValueError:
            raise ValueError("is not a URL" + ESCAPE) from None
        if parts.scheme not in ("postgresql", "postgres"):
            raise ValueError("must begin with postgresql://")
        if parts.fragment:
            raise ValueError("must not have a #" + ESCAPE)
        credentials, _, address = parts.netloc.rpartition("@")
        user, _, password = credentials.partition(":")
        host, port = host_and_port(address, _PORT)
        schema = parameters.get("schema") or "public"
        if "\0" in url or "\0" in schema:
            raise ValueError("must not have a NUL character")
        return cls(
            host=parameters.get("host") or host or "localhost",
            port=port,
            user=unquote(user) or None,
            password=unquote(password) or None,
            database=unquote(parts.path.removeprefix("/")) or None,
            schema=schema,
            connections=_connections(parameters.get("connection_limit")),
            pgbouncer=parameters.get("pgbouncer") == "true",
            ssl=_encryption(parameters),
        )


def _connections(limit: str | None) -> int:
    if limit is None:
        return _CONNECTIONS
    if not (limit.isascii() and limit.isdigit() and int(limit)):
        raise ValueError("has a connection_limit that is not a number above 0")
    return int(limit)


def _encryption(parameters: dict[str, str]) -> ssl.SSLContext | Encryption:
    mode = parameters.get("sslmode", "prefer")
    strict = mode == "require" and parameters.get("sslaccept") == "strict"
    if mode in _UNVERIFIED and not strict:
        return cast(Encryption, mode)
    if mode not in ("verify-ca", "verify-full") and not strict:
        raise ValueError("has an unknown sslmode: disable, prefer, require, verify-ca and verify-full are known")
    authority = parameters.get("sslrootcert") or (parameters.get("sslcert") if strict else None)
    try:
        context = ssl.create_default_context(cafile=None if authority == "system" else authority)
    except OSError:
        raise ValueError("names a certificate file (sslrootcert, sslcert) that cannot be read") from None
    context.check_hostname = mode != "verify-ca"
    return context
