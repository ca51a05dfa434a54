"""Checks that the port is free, or in use by this server."""

import errno
import math
import ssl
from typing import Final

import httpx
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from synkora.app.check.finding import Finding, risky, well, wrong
from synkora.app.health import SERVICE
from synkora.app.listening import listen_problem
from synkora.app.settings import Settings
from synkora.protocol.json import Decoder
from synkora.serving.listen import listen

_PATIENCE: Final = 3.0  # seconds

_EVERYWHERE: Final = ("", "0.0.0.0", "::")  # noqa: S104  # to be asked there, not to listen


class _Health(msgspec.Struct):
    service: str
    status: str
    uptime: float
    connections: int
    reason: str = ""


_DECODER: Final[Decoder[_Health]] = Decoder(_Health)


async def check_port(settings: Settings) -> list[Finding]:
    """Check that the server can listen on its address and port."""
    port = settings.port
    place = f"{settings.host or 'every interface'}, port {port}"
    try:
        for bound in listen(settings.host, port):
            bound.close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return [await _occupant(settings)]
        return [wrong("port", *listen_problem(error, settings.host, settings.port))]
    return [well("port", f"{place} is free" if port else f"any free one ({place})")]


async def _occupant(settings: Settings) -> Finding:
    """A finding about the process that listens on the port."""
    port = settings.port
    message = f"port {port} is in use, and not by this server"
    advice = "Stop what listens there, or set WS_PORT to another port"
    if settings.ssl_certfile is not None:
        message += " with this certificate"
        advice += "; or restart the server, if it has the certificate from before a renewal"
    taken = wrong("port", message, advice)
    try:
        health = await _health(settings)
    except (httpx.HTTPError, ValueError, OSError):
        return taken
    if health.service != SERVICE:
        return taken
    serving = f"this server runs there, {health.status}, for {_time(health.uptime)}, clients: {health.connections}"
    if health.reason:
        return risky("port", f"{serving}; {health.reason}", "See the finding on Redis, and the server's log")
    return well("port", serving)


async def _health(settings: Settings) -> _Health:
    host = settings.host if settings.host not in _EVERYWHERE else "127.0.0.1"
    scheme = "https" if settings.ssl_certfile else "http"
    url = f"{scheme}://[{host}]" if ":" in host else f"{scheme}://{host}"
    async with httpx.AsyncClient(timeout=_PATIENCE, trust_env=False, verify=_trusting(settings)) as client:
        response = await client.get(f"{url}:{settings.port}/health")
        return _DECODER.decode(response.content)


def _trusting(settings: Settings) -> ssl.SSLContext | bool:
    """Trust only the server's own certificate, from any issuer."""
    if settings.ssl_certfile is None:
        return False  # no certificate to verify
    own = x509.load_pem_x509_certificates(settings.ssl_certfile.read_bytes())[0]
    context = ssl.create_default_context(cadata=own.public_bytes(Encoding.DER))
    # Without VERIFY_X509_STRICT, a default since Python 3.13.
    context.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_TRUSTED_FIRST
    context.check_hostname = False  # the URL has an address
    return context


def _time(seconds: float) -> str:
    units = ((86_400, "days"), (3_600, "hours"), (60, "minutes"))
    size, unit = next(((size, unit) for size, unit in units if seconds >= 2 * size), (1, "seconds"))
    return f"{math.floor(seconds / size)} {unit}"
