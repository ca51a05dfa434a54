"""uvicorn's HTTP protocol, with a limit on the head of a request."""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD: Final = 65_536  # bytes: a session may be several cookies of 4 kB each
_WORDS: Final = b'{"message":"The head of a request may have up to %d bytes"}' % MAX_HEAD
_REFUSAL: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_WORDS), _WORDS)
)


class HttpProtocol(HttpToolsProtocol):
    """Answers 431 and closes where a request's head goes on for more than `MAX_HEAD` bytes.

    httptools would keep whatever comes, for as long as the head has no end (RFC 6585 section 5).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._head_size = 0

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        super().data_received(data)
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD and not self.transport.is_closing():
                self.transport.write(_REFUSAL)
                self.transport.close()

    def on_message_begin(self) -> None:
        """Take note that a request begins."""
        self._in_head = True
        self._head_size = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Take note that its head is complete."""
        self._in_head = False
        super().on_headers_complete()
