"""Certificates of servers in tests."""

import subprocess
from pathlib import Path
from typing import NamedTuple

_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    certfile, keyfile = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", *_KEY, "-addext", _NAMES),
            *("-keyout", keyfile, "-out", certfile, "-days", "2", "-subj", "/CN=localhost"),
        ],
        check=True,
        capture_output=True,
    )
    return certfile, keyfile


class Issued(NamedTuple):
    """A certificate and its key, and the certificate of the private authority that has issued it."""

    certfile: Path
    keyfile: Path
    authority: Path


def issue_certificate(folder: Path) -> Issued:
    """Make an authority, and a certificate of it."""
    issued = Issued(folder / "issued.crt", folder / "issued.key", folder / "authority.crt")
    authority = ("-CA", issued.authority, "-CAkey", folder / "authority.key")
    may_sign = ("-addext", "keyUsage=critical,keyCertSign")
    is_server = ("-addext", _NAMES, "-addext", "basicConstraints=CA:FALSE")
    for command in (
        ("-keyout", folder / "authority.key", "-out", issued.authority, "-subj", "/CN=a private authority", *may_sign),
        ("-keyout", issued.keyfile, "-out", issued.certfile, "-subj", "/CN=redis", *is_server, *authority),
    ):
        subprocess.run(["openssl", "req", "-x509", *_KEY, "-days", "2", *command], check=True, capture_output=True)
    return issued
