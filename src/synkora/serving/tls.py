"""TLS with a certificate and its key, and their renewal, after SIGHUP."""

import ssl
from pathlib import Path


class TlsError(Exception):
    """A certificate or key cannot be used. The message is one line with the reason."""


def tls_context(certfile: Path, keyfile: Path) -> ssl.SSLContext:
    """Return a server's context for TLS 1.2 and 1.3; `certfile` holds the certificate and its chain.

    Both are PEM. Raises `TlsError`.
    """
    for variable, file in (("SSL_CERTFILE", certfile), ("SSL_KEYFILE", keyfile)):
        try:
            with file.open("rb"):
                pass
        except OSError as error:
            raise TlsError(f"{variable}: {file} cannot be read: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # OpenSSL 1.1.1 does not limit a client's renegotiations
    try:
        context.load_cert_chain(certfile, keyfile, _no_password)
    except _Encrypted:
        raise TlsError(f"SSL_KEYFILE: {keyfile} is encrypted: give the server a key without a passphrase") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"SSL_KEYFILE: {keyfile} is not the key of the certificate in {certfile}") from None
        raise TlsError(
            f"SSL_CERTFILE, SSL_KEYFILE: {certfile} and {keyfile} are not a certificate and its key"
        ) from None
    return context


def renew(context: ssl.SSLContext, certfile: Path, keyfile: Path) -> None:
    """Load the files again: new connections get the new certificate, open connections continue.

    Raises `TlsError`, and changes nothing, if the files cannot be used.
    """
    tls_context(certfile, keyfile)
    context.load_cert_chain(certfile, keyfile, _no_password)


class _Encrypted(Exception):
    """A key is encrypted."""


def _no_password() -> str:
    """Refuse a passphrase: OpenSSL would ask on the terminal."""
    raise _Encrypted
