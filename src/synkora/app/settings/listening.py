"""Where the server listens, and TLS."""

from pydantic import BaseModel, Field

from synkora.app.settings.values import FileValue, HostValue, PathValue, PortValue, ProxiesValue


class ListeningSettings(BaseModel):
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
