"""uvicorn's HTTP protocol, with limits on the head, its fields, the body and the time of a request."""

import resource
from http import HTTPStatus
from typing import Any, Final

from synkora.engine.incidents import IncidentKind, Incidents
from synkora.engine.timeouts import TimeoutQueue
from synkora.engine.transports.websocket import CLOSING_TIME, limit_unsent
from synkora.serving.http_pipelining import PipelineProtocol

MAX_HEAD: Final = 32_768  # bytes: a session may use several cookies of 4 kB each
MAX_HEADERS: Final = 256  # a header takes about 150 bytes of memory in addition to its text
HEAD_TIME: Final = 30  # seconds for a whole head: a client without a session cannot keep a connection longer
BODY_TIME: Final = 30  # seconds for the next part of a body
#: A slow client must read at least this many bytes of a response in this many seconds.
READ_TIME: Final = 30
READ_LEAST: Final = 16_384
#: A TLS connection with this many undecrypted bytes is not read, until a quarter has been decrypted. The rest is more
#: than TLS's largest record, which must be complete (RFC 5246, section 6.2.3). The buffer never shrinks.
TLS_AHEAD: Final = 32_768
#: A chunk of a body below this size is small; a request may have a limited number of them. Each costs as much as
#: some hundred bytes, and one read of the event loop can contain tens of thousands.
SMALL_CHUNK: Final = 64
MAX_SMALL_CHUNKS: Final = 1000
_LAST_FILES: Final = (
    4  # the system assigns the lowest free number, so that one of the last numbers means that the limit is near
)
_PER_LINE: Final = 4  # bytes: colon, space and line end of a header

_TOO_LARGE: Final = f"The head of a request may have up to {MAX_HEAD} bytes and {MAX_HEADERS} headers"
_TOO_SLOW: Final = "The rest of the request did not come in time"


class HttpTimeouts:
    """The timeouts of a server's HTTP clients, with one timer per kind."""

    def __init__(self, incidents: Incidents) -> None:
        self.incidents = incidents
        self.heads: TimeoutQueue[HttpProtocol] = TimeoutQueue(HEAD_TIME, lambda protocol: protocol.head_timed_out())
        self.bodies: TimeoutQueue[HttpProtocol] = TimeoutQueue(BODY_TIME, lambda protocol: protocol.body_timed_out())
        self.reads: TimeoutQueue[HttpProtocol] = TimeoutQueue(READ_TIME, lambda protocol: protocol.read_timed_out())
        self.last_answers: TimeoutQueue[HttpProtocol] = TimeoutQueue(
            CLOSING_TIME, lambda protocol: protocol.last_answer_timed_out()
        )

    def forget(self, protocol: "HttpProtocol") -> None:
        """Drop all timeouts of a connection."""
        self.heads.drop(protocol)
        self.bodies.drop(protocol)
        self.reads.drop(protocol)
        self.last_answers.drop(protocol)

    def cancel(self) -> None:
        """Cancel all timeouts."""
        self.heads.cancel()
        self.bodies.cancel()
        self.reads.cancel()
        self.last_answers.cancel()


class _TooLarge(Exception):
    """A request's head has more than `MAX_HEAD` bytes, or `MAX_HEADERS` headers."""


class _TooManyChunks(Exception):
    """A request's body has more than `MAX_SMALL_CHUNKS` small chunks."""


class HttpProtocol(PipelineProtocol):
    """Responds with 408 to a request that is not complete in time, and with 431 to a head that is too large.

    The time for a whole head is limited. A body may take long over a slow line, as long as parts of the body arrive:
    silence and size are limited, and so is the number of small chunks. The time for a whole body that the application
    does not read is limited. httptools itself would buffer a head, header or trailer without end (RFC 6585 section 5,
    RFC 9110 section 15.5.9). Bind `timeouts` with `functools.partial` and pass the result to uvicorn as `http`.
    """

    def __init__(self, timeouts: HttpTimeouts, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timeouts = timeouts
        self._received = 0  # bytes since the start of the request, or since the latest part of its body
        self._not_parsed = 0  # the most bytes that may belong to a head behind what has been parsed
        self._head_size = 0
        self._headers = 0
        self._small_chunks = 0
        self._head_came = False  # in the latest data of the client
        self._in_body = False
        self._unread = 0
        self.answer = 0  # the number of what is written; a new one when the client has read what came before
        self._unread_answer = 0  # bytes of an answer to a poll of a session that ends
        self._has_session_ended = False

    # Called by the event loop

    def connection_made(self, transport: Any) -> None:
        """Start the timeouts of a connection."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        limit_unsent(transport)
        if transport.get_extra_info("ssl_object") is not None:
            transport.set_read_buffer_limits(high=TLS_AHEAD, low=TLS_AHEAD // 4 * 3)
        self._timeouts.heads.add(self)
        if connection is not None:
            self._check_files(connection.fileno())

    def _check_files(self, descriptor: int) -> None:
        """Report that file descriptors run out: the event loop then closes new connections without a message."""
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if most != resource.RLIM_INFINITY and descriptor >= most - _LAST_FILES:
            self._timeouts.incidents.note(
                IncidentKind.FILE_LIMIT_HIT, f"{most} may be open, raise LimitNOFILE or ulimit -n"
            )

    def data_received(self, data: bytes) -> None:
        """Handle received data."""
        self._head_came = False
        self._received += len(data)
        self._not_parsed = self._received
        super().data_received(data)
        if self.transport.is_closing():
            return
        timeouts = self._timeouts
        if self._in_body:
            if self not in timeouts.bodies or self._is_body_read():
                timeouts.bodies.add(self)
        elif self._is_in_request or not self._head_came:
            if self not in timeouts.heads:
                timeouts.heads.add(self)
            if self._is_in_request and not self._received:  # the head is behind another request
                self._received = min(self._not_parsed, len(data.rpartition(b"\r\n\r\n")[2]))
        if self._received > MAX_HEAD and self._is_incomplete:
            self._refuse_size()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timeouts.forget(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Handle a full write buffer: the client is slow."""
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._timeouts.reads.add(self)

    def resume_writing(self) -> None:
        """Handle a nearly empty write buffer: the client has caught up."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._timeouts.reads.drop(self)

    def eof_received(self) -> None:
        """Handle the end of the client's data: the event loop now closes the connection."""
        super().eof_received()
        self._limit_last_reads()

    # Called by the parser

    def on_message_begin(self) -> None:
        """Called by httptools at the start of a request."""
        self._head_size = self._headers = self._small_chunks = 0
        if not self.flow.write_paused:  # the last response may be read by now, and another one follows
            self._timeouts.reads.drop(self)
        if not self.transport.get_write_buffer_size():
            self.answer += 1
            self._timeouts.last_answers.drop(self)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Handle a part of a request's target."""
        self._head_size += len(url)
        self._check_size()
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Handle a header, or count a trailer: trailers are no headers (RFC 9110 section 6.5.1)."""
        self._head_size += len(name) + len(value) + _PER_LINE
        self._headers += 1
        self._check_size()
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Called by httptools at the end of a head."""
        self._received = 0
        self._head_came = self._in_body = True
        self._timeouts.heads.drop(self)
        size = self._head_size - self._headers  # a header may be without a space
        super().on_headers_complete()
        if not self._is_ignoring:  # a head whose upgrade is ignored is parsed again
            self._not_parsed -= size

    def on_body(self, body: bytes) -> None:
        self._received = 0
        self._not_parsed -= len(body)
        if len(body) < SMALL_CHUNK:
            self._small_chunks += 1
            if self._has_too_many_chunks:
                raise _TooManyChunks
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Called by httptools at the end of a request."""
        self._received = 0
        self._in_body = False
        self._timeouts.bodies.drop(self)
        super().on_message_complete()

    # Called by uvicorn

    def handle_websocket_upgrade(self) -> None:
        """Pass the connection to the WebSocket protocol.

        Only a client that has read the previous response may send a handshake. The event loop has reported the full
        write buffer, and would not report it to the WebSocket protocol again.
        """
        if self.flow.write_paused:
            self._cut_off()
            return
        self._in_body = False
        super().handle_websocket_upgrade()
        self._timeouts.forget(self)  # also of what the WebSocket protocol has written

    def on_response_complete(self) -> None:
        """Continue with the next pipelined request; the timeout of its body starts now."""
        if self.pipeline and self in self._timeouts.bodies:
            self._timeouts.bodies.add(self)
        super().on_response_complete()
        if self.transport.is_closing():
            self._limit_last_reads()

    def send_400_response(self, msg: str) -> None:
        """Respond to data that the parser could not read."""
        if self._is_overfull:
            self._timeouts.incidents.note(IncidentKind.REQUEST_REFUSED, "too many pipelined")
            self._close()
        elif self._has_too_many_chunks:
            self._timeouts.incidents.note(IncidentKind.REQUEST_REFUSED, "too many small chunks")
            self._close()
        elif self._is_too_large:
            self._refuse_size()
        else:
            self._timeouts.incidents.note(IncidentKind.REQUEST_REFUSED, "not HTTP")
            super().send_400_response(msg)
            self._limit_last_reads()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection. The client may still read the last response, as fast as others must."""
        unread = self.transport.get_write_buffer_size()
        if not unread:
            super().timeout_keep_alive_handler()
            self._limit_last_reads()
            return
        if self not in self._timeouts.reads:
            self._unread = unread
            self._timeouts.reads.add(self)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    # Called by the session of the last poll

    def limit_last_answer(self, *, ended: bool) -> None:
        """Give the client `CLOSING_TIME` for the rest of its last answer, which counts for no user any more.

        Before the session has `ended`, each `READ_LEAST` bytes that the client reads extend the time.
        """
        unread = self.transport.get_write_buffer_size()
        if not unread:
            return
        last_answers = self._timeouts.last_answers
        if self not in last_answers:
            self._unread_answer = unread
            self._has_session_ended = False
            last_answers.add(self)
        if ended and not self._has_session_ended:
            self._has_session_ended = True
            last_answers.add(self)

    # Called by the timeouts

    def _is_body_read(self) -> bool:
        """Whether the application reads the body as it arrives, and limits its size."""
        return not self.cycle.response_started

    def head_timed_out(self) -> None:
        """End the connection: the head of a request is not complete in time."""
        if self._received:
            self._timeouts.incidents.note(IncidentKind.SLOW_REQUEST_CUT_OFF, "head")
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, _TOO_SLOW)
        else:
            self._close()

    def body_timed_out(self) -> None:
        """End the connection: the rest of a body did not arrive in time."""
        if self.pipeline:  # the body is not read before the response to an earlier request
            self._timeouts.bodies.add(self)
            return
        self._timeouts.incidents.note(IncidentKind.SLOW_REQUEST_CUT_OFF, "body")
        if not self.cycle.response_started:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, _TOO_SLOW)
        else:
            self._close()

    def read_timed_out(self) -> None:
        """Disconnect a client that reads too slowly."""
        unread = self.transport.get_write_buffer_size()
        if not unread and not self.transport.is_closing():
            return  # the client has caught up
        if unread > self._unread - READ_LEAST:
            self._cut_off()
        else:
            self._unread = unread
            self._timeouts.reads.add(self)

    def last_answer_timed_out(self) -> None:
        """Disconnect a client that has not read its last answer in time."""
        unread = self.transport.get_write_buffer_size()
        if not unread:
            return
        if self._has_session_ended or unread > self._unread_answer - READ_LEAST:
            self._cut_off()
        else:
            self._unread_answer = unread
            self._timeouts.last_answers.add(self)

    def _cut_off(self) -> None:
        self._timeouts.incidents.note(IncidentKind.SLOW_CLIENT_CUT_OFF)
        self.transport.abort()

    @property
    def _is_incomplete(self) -> bool:
        return self in self._timeouts.heads or self in self._timeouts.bodies

    @property
    def _is_too_large(self) -> bool:
        return self._head_size > MAX_HEAD or self._headers > MAX_HEADERS

    @property
    def _has_too_many_chunks(self) -> bool:
        return self._small_chunks > MAX_SMALL_CHUNKS

    def _check_size(self) -> None:
        if self._is_too_large:
            raise _TooLarge

    def _refuse_size(self) -> None:
        self._timeouts.incidents.note(IncidentKind.REQUEST_REFUSED, "head too large")
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE)

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        body = b'{"message":"%b"}' % words.encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self._close()

    def _close(self) -> None:
        """Close the connection after its last bytes."""
        self.transport.close()
        self._limit_last_reads()

    def _limit_last_reads(self) -> None:
        """Start the timeout of the last bytes of a connection that closes. Over TLS, some of them cannot be seen."""
        unread = self.transport.get_write_buffer_size()
        if self not in self._timeouts.reads and (unread or self.transport.get_extra_info("ssl_object") is not None):
            self._unread = unread
            self._timeouts.reads.add(self)
