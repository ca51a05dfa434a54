"""A TLS client that changes its keys (RFC 8446 section 4.6.3): Python's `ssl` cannot, OpenSSL can."""

import _ssl
import contextlib
import ctypes
import socket
from collections.abc import Iterator
from typing import Final

_OPENSSL: Final = ctypes.CDLL(getattr(_ssl, "__file__", None))  # with its dependencies
_FORM: Final = {
    "TLS_client_method": (ctypes.c_void_p,),
    "SSL_CTX_new": (ctypes.c_void_p, ctypes.c_void_p),
    "SSL_new": (ctypes.c_void_p, ctypes.c_void_p),
    "SSL_set_fd": (ctypes.c_int, ctypes.c_void_p, ctypes.c_int),
    "SSL_connect": (ctypes.c_int, ctypes.c_void_p),
    "SSL_key_update": (ctypes.c_int, ctypes.c_void_p, ctypes.c_int),
    "SSL_do_handshake": (ctypes.c_int, ctypes.c_void_p),
    "SSL_write": (ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int),
    "SSL_read": (ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int),
    "SSL_free": (None, ctypes.c_void_p),
    "SSL_CTX_free": (None, ctypes.c_void_p),
}
for _name, (_result, *_arguments) in _FORM.items():
    _function = getattr(_OPENSSL, _name)
    _function.restype, _function.argtypes = _result, _arguments


class KeyChanger:
    """A connection over TLS 1.3. Its methods block."""

    def __init__(self, tls: int) -> None:
        self._tls = tls

    def update(self) -> bool:
        """Change the keys, and ask the server to do so too; return whether the connection is open."""
        _OPENSSL.SSL_key_update(self._tls, 1)
        return bool(_OPENSSL.SSL_do_handshake(self._tls) == 1)

    def send(self, data: bytes) -> None:
        assert _OPENSSL.SSL_write(self._tls, data, len(data)) == len(data)

    def receive(self) -> bytes:
        """Return what has come, or nothing at the end."""
        buffer = ctypes.create_string_buffer(4096)
        size = _OPENSSL.SSL_read(self._tls, buffer, len(buffer))
        return buffer.raw[: max(size, 0)]


@contextlib.contextmanager
def key_changer(port: int) -> Iterator[KeyChanger]:
    """Connect to a server on this machine."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with changing_keys(connection) as client:
            yield client


@contextlib.contextmanager
def changing_keys(connection: socket.socket) -> Iterator[KeyChanger]:
    """Begin TLS over a connection."""
    context = _OPENSSL.SSL_CTX_new(_OPENSSL.TLS_client_method())
    tls = _OPENSSL.SSL_new(context)
    _OPENSSL.SSL_set_fd(tls, connection.fileno())
    assert _OPENSSL.SSL_connect(tls) == 1
    yield KeyChanger(tls)
    _OPENSSL.SSL_free(tls)
    _OPENSSL.SSL_CTX_free(context)
