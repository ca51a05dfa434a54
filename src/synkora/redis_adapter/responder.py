"""Responses to requests of other servers."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET, Raw

from synkora.engine.logs import Log
from synkora.protocol.json import encode
from synkora.redis.link import Link
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.message_conversion import message_of
from synkora.redis_adapter.socket_codec import describe_all
from synkora.redis_adapter.wire_codec import (
    AdapterRequest,
    AdapterResponse,
    InvalidMessage,
    Options,
    RequestType,
    read_request,
    room_names,
    write,
    write_json,
)
from synkora.sockets.local_adapter import LocalAdapter

#: Bytes of an answer; a larger one is not sent. Redis ends a connection that has 32 MB unread.
MAX_RESPONSE: Final = 20_000_000
_LONGEST_POLL: Final = 3600.0  # maximum seconds for acks, whatever another server requests
_DEFAULT_POLL: Final = 60.0

log = Log(__name__)


class Responder:
    """Executes requests of other servers for one namespace, with the sockets of this server.

    A response goes only to the server that asked, or to all servers if the request does not name it.
    """

    def __init__(self, namespace: str, local: LocalAdapter, link: Link, channels: Channels) -> None:
        self.unreadable = 0
        self._namespace = namespace
        self._local = local
        self._link = link
        self._channels = channels
        self._answers: dict[int, Callable[[AdapterRequest], None]] = {
            RequestType.SOCKETS: self._sockets,
            RequestType.ALL_ROOMS: self._all_rooms,
            RequestType.REMOTE_JOIN: self._join,
            RequestType.REMOTE_LEAVE: self._leave,
            RequestType.REMOTE_DISCONNECT: self._disconnect,
            RequestType.REMOTE_FETCH: self._fetch,
            RequestType.SERVER_SIDE_EMIT: self._server_side_emit,
            RequestType.BROADCAST: self._broadcast,
        }
        link.subscribe(channels.requests, self._receive)

    def close(self) -> None:
        """Stop receiving requests."""
        self._link.unsubscribe(self._channels.requests)

    def _receive(self, message: bytes) -> None:
        try:
            request = read_request(message)
            answer = self._answers.get(request.type)
            if answer is None:
                raise InvalidMessage("unknown request")
            if request.uid != self._link.uid:  # this server has executed its own requests already
                answer(request)
        except InvalidMessage:
            self.unreadable += 1

    def _respond(self, request: AdapterRequest, write_it: Callable[[AdapterResponse], bytes], **fields: Any) -> None:
        if request.request_id is UNSET:
            return
        to = self._channels.responses if request.uid is UNSET else self._channels.responses_to(request.uid)
        response = write_it(AdapterResponse(request_id=request.request_id, **fields))
        if len(response) > MAX_RESPONSE:
            log.warning("answer_too_large", namespace=self._namespace, size=len(response))
            return
        self._link.publish(to, response)

    def _sockets(self, request: AdapterRequest) -> None:
        chosen = self._local.rooms.select(room_names(request.rooms or ()), ())
        self._respond(request, write_json, sockets=[Raw(encode(socket_id)) for socket_id in chosen])

    def _all_rooms(self, request: AdapterRequest) -> None:
        self._respond(request, write_json, rooms=list(self._local.rooms.names()))

    def _fetch(self, request: AdapterRequest) -> None:
        found = self._local.snapshots(*_chosen(request))
        self._respond(request, write_json, sockets=describe_all(found))

    def _join(self, request: AdapterRequest) -> None:
        self._local.sockets_join(*_chosen(request), _rooms(request))
        self._confirm(request)

    def _leave(self, request: AdapterRequest) -> None:
        self._local.sockets_leave(*_chosen(request), _rooms(request))
        self._confirm(request)

    def _disconnect(self, request: AdapterRequest) -> None:
        is_here = request.sid in self._local.rooms.members
        self._local.disconnect_sockets(*_chosen(request), close=request.close is True)
        if is_here:
            self._respond(request, write_json)

    def _confirm(self, request: AdapterRequest) -> None:
        if request.sid in self._local.rooms.members:
            self._respond(request, write_json)

    def _server_side_emit(self, request: AdapterRequest) -> None:
        if not isinstance(request.data, list):
            raise InvalidMessage("no event")

        def answer(value: object) -> None:
            self._respond(request, write_json, type=RequestType.SERVER_SIDE_EMIT, data=value)

        self._local.server_side.receive(request.data, None if request.request_id is UNSET else answer)

    def _broadcast(self, request: AdapterRequest) -> None:
        event, options = request.packet, request.opts
        if event is UNSET or options is UNSET:
            raise InvalidMessage("no broadcast")
        event.nsp = self._namespace
        if event.data is UNSET:
            raise InvalidMessage("no event")  # its JSON text is in place of an id
        message = message_of(
            event, volatile=bool(options.flag("volatile")), compress=options.flag("compress") is not False
        )

        def answered(value: Any) -> None:
            try:
                self._respond(request, write, type=RequestType.BROADCAST_ACK, packet=value)
            except InvalidMessage:
                self.unreadable += 1

        question = self._local.ask(message, *_chosen(request), answered)
        self._respond(request, write_json, type=RequestType.BROADCAST_CLIENT_COUNT, client_count=question.asked)
        if question.asked:
            asyncio.get_running_loop().call_later(_time_to_answer(options), question.close)


def _chosen(request: AdapterRequest) -> tuple[list[str], list[str]]:
    """Return the rooms and the excepted rooms of a request."""
    if request.opts is not UNSET:
        return room_names(request.opts.rooms), room_names(request.opts.except_rooms)
    if request.sid is not UNSET:
        return [request.sid], []
    raise InvalidMessage("a request without sockets")


def _rooms(request: AdapterRequest) -> list[str]:
    if request.rooms is not UNSET:
        return room_names(request.rooms)
    return [] if request.room is UNSET else room_names((request.room,))


def _time_to_answer(options: Options) -> float:
    timeout = options.flag("timeout")  # milliseconds
    if isinstance(timeout, int | float) and timeout > 0:
        return min(timeout / 1000, _LONGEST_POLL)
    return _DEFAULT_POLL
