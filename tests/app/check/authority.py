"""A certificate authority that issues any certificate a test needs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = generate_private_key(SECP256R1())
        self._name = _named("The authority")
        times = timedelta(days=-1), timedelta(days=900)
        self._own = _certificate(self._name, self._name, self._key, self._key, (), *times)

    def issue(
        self,
        *names: str,
        begin: timedelta = timedelta(days=-1),
        end: timedelta = timedelta(days=90, hours=1),
        chain: bool = True,
        itself: bool = False,
    ) -> tuple[Path, Path]:
        """A certificate's file and its key's; `begin` and `end` are counted from now.

        With `chain` the authority's own is in the file; with `itself` the certificate is signed by itself.
        """
        key, subject = generate_private_key(SECP256R1()), _named("A server")
        issuer, signer = (subject, key) if itself else (self._name, self._key)
        certificates = [_certificate(subject, issuer, key, signer, names, begin, end), *([self._own] if chain else [])]
        certfile, keyfile = self._folder / "server.crt", self._folder / "server.key"
        certfile.write_bytes(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates))
        keyfile.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        keyfile.chmod(0o600)
        return certfile, keyfile


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: EllipticCurvePrivateKey,
    signer: EllipticCurvePrivateKey,
    names: tuple[str, ...],
    begin: timedelta,
    end: timedelta,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    return builder.sign(signer, SHA256())
