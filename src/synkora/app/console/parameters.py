"""The parameters of the console's requests, validated."""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from synkora.app.console.rpc_messages import (
    REACH,
    ConnectionsOrder,
    Level,
    Most,
    ProjectsOrder,
    Transport,
    Words,
)
from synkora.app.console.sign_in import ConsoleRefused
from synkora.collaboration.blocks import LONGEST_BLOCK, BlockedKind, blocked_address
from synkora.collaboration.events import MAX_PROJECT_ID
from synkora.identity.user import MAX_ID_LENGTH
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder

MAX_NOTICE: Final = 500  # characters
_MOST_INSTANCES: Final = 1000  # in a list of marks
_MARK: Final = re.compile(r"(?P<instance>[A-Za-z0-9]{1,40}):(?P<mark>[0-9]{1,15}(?:\.[0-9]{1,20})?)")
_PATH: Final = re.compile(r"(?P<problem>.*) - at `\$\.?(?P<name>[^`]*)`$", re.DOTALL)

Order = Literal["asc", "desc"]
Offset = Annotated[int, msgspec.Meta(ge=0, le=REACH)]

ProjectId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PROJECT_ID)]
Named = Annotated[str, msgspec.Meta(max_length=MAX_ID_LENGTH)]

P = TypeVar("P", bound=msgspec.Struct)


class TableParameters(msgspec.Struct):
    """The rows of a table to show."""

    search: Words = ""
    order: Order = "asc"
    offset: Offset = 0
    limit: Most = 100


class ConnectionsParameters(TableParameters):
    """Parameters of `GET /console/api/connections`."""

    project: Words = ""
    transport: Transport = ""
    instance: Words = ""
    sort: ConnectionsOrder = "since"


class ProjectsParameters(TableParameters):
    """Parameters of `GET /console/api/projects`."""

    sort: ProjectsOrder = "project"


class LogParameters(msgspec.Struct):
    """Parameters of `GET /console/api/log`."""

    after: str = ""
    level: Level = "debug"
    instance: Words = ""


class OverviewParameters(msgspec.Struct):
    """Parameters of `GET /console/api/overview`."""

    after: str = ""


class ProjectParameters(msgspec.Struct, rename="camel"):
    """Parameters of `GET /console/api/project`."""

    project_id: ProjectId


class DisconnectBody(msgspec.Struct, rename="camel"):
    """Body of `POST /console/api/disconnect`."""

    socket_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class NoticeBody(msgspec.Struct, rename="camel"):
    """Body of `POST /console/api/notice`."""

    project_id: ProjectId
    message: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NOTICE)]


class BlockBody(msgspec.Struct, rename="camel"):
    """Body of `POST /console/api/block`: a user or an address. Without seconds, connections are closed, not blocked."""

    user_id: Named = ""
    address: Named = ""
    seconds: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_BLOCK)] = 0


class UnblockBody(msgspec.Struct, rename="camel"):
    """Body of `POST /console/api/unblock`."""

    user_id: Named = ""
    address: Named = ""


DISCONNECT_BODY: Final[Decoder[DisconnectBody]] = Decoder(DisconnectBody)
BLOCK_BODY: Final[Decoder[BlockBody]] = Decoder(BlockBody)
UNBLOCK_BODY: Final[Decoder[UnblockBody]] = Decoder(UnblockBody)
NOTICE_BODY: Final[Decoder[NoticeBody]] = Decoder(NoticeBody)


def parameters(given: Mapping[str, str], shape: type[P]) -> P:
    """Return the parameters of a query. Raises `ConsoleRefused` for invalid ones; unknown ones are ignored."""
    try:
        return msgspec.convert(dict(given), shape, strict=False)
    except msgspec.ValidationError as error:
        found = _PATH.match(str(error))
        raise ConsoleRefused(422, f"{found['name']}: {found['problem']}" if found else str(error)) from None


def body(data: bytes, decoder: Decoder[P]) -> P:
    """Decode a body. Raises `ConsoleRefused`."""
    try:
        return decoder.decode(data)
    except (ProtocolError, InvalidPayload) as error:
        raise ConsoleRefused(422, str(error)) from None


def blocked(user_id: str, address: str) -> tuple[BlockedKind, str]:
    """Return the user or address in a body. Raises `ConsoleRefused`."""
    if bool(user_id) == bool(address):
        raise ConsoleRefused(422, "either a userId or an address is expected")
    if user_id:
        return "user", user_id
    site = blocked_address(address)
    if site is None:
        raise ConsoleRefused(422, "address: an IP address is expected, or the /64 of an IPv6 address")
    return "address", site


def marks(text: str) -> dict[str, str]:
    """Return the page's position per instance from `id:mark,id:mark`. Raises `ConsoleRefused`."""
    found: dict[str, str] = {}
    for part in text.split(",", _MOST_INSTANCES)[:_MOST_INSTANCES] if text else ():
        mark = _MARK.fullmatch(part)
        if mark is None:
            raise ConsoleRefused(422, "after: a list such as id:12,id:34 is expected")
        found[mark["instance"]] = mark["mark"]
    return found


def reach(offset: int, limit: int) -> int:
    """Return the number of rows up to the end of a page. Raises `ConsoleRefused` beyond `REACH`."""
    if offset + limit > REACH:
        raise ConsoleRefused(
            422, f"Only the first {REACH} rows can be paged through: search for what you need, or sort it"
        )
    return offset + limit
