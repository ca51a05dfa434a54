"""Where the server listens, and TLS."""

from pydantic import BaseModel

from synkora.app.settings.values import FileValue, HostValue, PathValue, PortValue, ProxiesValue, setting


class ListeningSettings(BaseModel):
    port: PortValue = setting("WS_PORT", 3001, "Port to listen on; 0 takes any free one.")
    host: HostValue = setting("WS_HOST", "", "Address to listen on; unset: all interfaces, IPv4 and IPv6.")
    trusted_proxies: ProxiesValue = setting(
        "TRUSTED_PROXIES",
        (),
        "Proxies whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host the server trusts, comma-separated: "
        "addresses, networks, unix for a unix socket.",
    )
    ssl_certfile: FileValue = setting("SSL_CERTFILE", None, "Certificate chain for TLS (PEM); unset: no TLS.")
    ssl_keyfile: FileValue = setting("SSL_KEYFILE", None, "Key of that certificate (PEM, without a passphrase).")
    path: PathValue = setting("WS_PATH", "/socket.io/", "Path of Socket.IO; the clients' path option must be the same.")
