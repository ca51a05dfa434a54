"""Checks of the server's own TLS certificate."""

import math
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from synkora.app.check.finding import Finding, risky, skipped, well, wrong
from synkora.app.check.network import is_loopback
from synkora.app.settings import Settings
from synkora.serving.tls import TlsError, tls_context

_SOON: Final = 14  # days: automatic renewal has probably failed, and there is time to renew by hand
_DAY: Final = 86_400  # seconds


def check_tls(settings: Settings) -> Iterator[Finding]:
    """Check that clients can trust the certificate, or that a proxy ends TLS."""
    if settings.ssl_certfile is not None and settings.ssl_keyfile is not None:
        yield from _files(settings.ssl_certfile, settings.ssl_keyfile)
    elif settings.environment == "production" and not (is_loopback(settings.host) or settings.trusted_proxies):
        yield risky(
            "tls",
            f"clients come without TLS, and without a proxy that ends it: WS_HOST is {settings.host or 'not set'}, "
            "TRUSTED_PROXIES and SSL_CERTFILE are not",
            "Put a proxy with TLS in front (WS_HOST=127.0.0.1, TRUSTED_PROXIES=127.0.0.1), or set SSL_CERTFILE and "
            "SSL_KEYFILE",
        )
    else:
        yield skipped("tls", "SSL_CERTFILE is not set: TLS is for the proxy in front, or not needed here")


def _files(certfile: Path, keyfile: Path) -> Iterator[Finding]:
    try:
        tls_context(certfile, keyfile)
        chain = x509.load_pem_x509_certificates(certfile.read_bytes())
        names = _names(chain[0])
        left = _days_left(chain[0])
    except TlsError as error:
        yield wrong("tls", str(error), "Name the certificate with those it was issued by, and its key, both PEM")
        return
    except ValueError:
        # OpenSSL tolerates these, and browsers may not.
        yield risky(
            "tls", f"SSL_CERTFILE: {certfile} contains parts that cannot be read", "Have the certificate issued again"
        )
        return
    found = [*_times(chain[0], left), *_trust(chain), *_exposure(keyfile)]
    yield from found
    if not found:
        yield well("tls", f"the certificate is for {names}, and good for {left} days")


def _days_left(certificate: x509.Certificate) -> int:
    return math.floor((certificate.not_valid_after_utc - datetime.now(UTC)).total_seconds() / _DAY)


def _names(certificate: x509.Certificate) -> str:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return "no name"
    return ", ".join(str(name.value) for name in extension.value) or "no name"


def _times(certificate: x509.Certificate, left: int) -> Iterator[Finding]:
    end = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    if certificate.not_valid_before_utc > datetime.now(UTC):
        begin = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        yield wrong("tls", f"the certificate is not valid before {begin}", "Check this machine's clock")
    elif left < 0:
        yield wrong("tls", f"the certificate has expired on {end}", "Renew it, and restart the server")
    elif left < _SOON:
        yield risky("tls", f"the certificate expires on {end}, in {left} days", "Renew it, and restart the server")


def _trust(chain: list[x509.Certificate]) -> Iterator[Finding]:
    leaf = chain[0]
    if _names(leaf) == "no name":
        yield wrong("tls", "the certificate names no host, and browsers want one", "Have it issued for the host's name")
    if leaf.issuer == leaf.subject:
        yield risky("tls", "the certificate is signed by itself: browsers refuse it", "Get one from an authority")
    elif len(chain) == 1:
        yield risky(
            "tls",
            "the certificate comes without the one that it was issued by, which clients may not have",
            "Name the file with the whole chain (fullchain.pem); ignore this where clients know the issuer",
        )


def _exposure(keyfile: Path) -> Iterator[Finding]:
    if stat.S_IMODE(keyfile.stat().st_mode) & stat.S_IRWXO:
        yield risky("tls", "every user of this machine may read the key", f"chmod 600 {keyfile}")
