"""TLS by a certificate and its key."""

import ssl
from pathlib import Path


class TlsError(Exception):
    """A certificate or key that cannot be used; its text is one line that says why."""


def tls_context(certfile: Path, keyfile: Path) -> ssl.SSLContext:
    """What a server needs to speak TLS 1.2 and 1.3; `certfile` holds the certificate and those that it was issued by.

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
    context.options |= ssl.OP_NO_RENEGOTIATION  # OpenSSL 1.1.1 does as many as a client asks for
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
    """Have new connections of a server be shown what is in the files now; those that there are go on.

    Raises `TlsError`, and changes nothing, where that cannot be used.
    """
    tls_context(certfile, keyfile)
    context.load_cert_chain(certfile, keyfile, _no_password)


class _Encrypted(Exception):
    """A key asks for its passphrase."""


def _no_password() -> str:
    """Refuse, where OpenSSL would ask on the terminal."""
    raise _Encrypted
