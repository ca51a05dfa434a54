"""What a TLS client sends besides data, without a server."""

import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.certificates import make_certificate
from tests.support.key_updates import KeyChanger, changing_keys

from synkora.serving import tls_records
from synkora.serving.tls import tls_context
from synkora.serving.tls_records import TooManyRecords, bound_records

MESSAGES = 3000


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    context = tls_context(*make_certificate(tmp_path_factory.mktemp("tls"), "server"))
    bound_records(context, lambda: None)
    return context


class Received:
    """What a server receives of a client that acts and does not read: the data, and what waits for the client."""

    def __init__(self, context: ssl.SSLContext, act: Callable[[KeyChanger], None]) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        self.size = 0
        ours, theirs = socket.socketpair()
        with ours, theirs, ThreadPoolExecutor(1) as threads:
            client = threads.submit(self._run, theirs, act)
            while True:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    ours.sendall(outgoing.read())
                    incoming.write(ours.recv(65_536))
                else:
                    break
            ours.sendall(outgoing.read())
            try:
                while data := ours.recv(65_536):
                    incoming.write(data)
                    self._read(tls)
            finally:
                self.waiting = outgoing.pending
                ours.shutdown(socket.SHUT_RDWR)
                client.exception()

    def _run(self, connection: socket.socket, act: Callable[[KeyChanger], None]) -> None:
        with changing_keys(connection) as client:
            act(client)
        connection.shutdown(socket.SHUT_WR)

    def _read(self, tls: ssl.SSLObject) -> None:
        try:
            while True:
                self.size += len(tls.read(65_536))
        except ssl.SSLWantReadError:
            pass


def test_many_small_records(context: ssl.SSLContext) -> None:
    def act(client: KeyChanger) -> None:
        for _ in range(MESSAGES):
            client.send(b"x")

    assert Received(context, act).size == MESSAGES


def test_changes_of_keys_with_a_byte_in_between_end_the_connection(context: ssl.SSLContext) -> None:
    """The time for each is as long as for a thousand bytes."""

    def act(client: KeyChanger) -> None:
        for _ in range(MESSAGES):
            client.update()
            client.send(b"x")

    with pytest.raises(TooManyRecords):
        Received(context, act)


def test_answers_to_changes_of_keys_that_are_not_read_are_bounded(
    context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with as much data in between as a client needs that may change its keys."""

    def act(client: KeyChanger) -> None:
        for _ in range(MESSAGES):
            client.update()
            client.send(b"x" * 100)

    with pytest.raises(TooManyRecords):
        Received(context, act)
    monkeypatch.setattr(tls_records, "_MOST_ANSWERS", 10**9)
    received = Received(context, act)
    assert received.size == 100 * MESSAGES
    assert received.waiting > 26 * MESSAGES
