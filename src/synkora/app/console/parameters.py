"""What the console's page may ask for: the parameters of its requests, checked."""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from synkora.app.console.guard import Refused
from synkora.app.console.topics import (
    REACH,
    ConnectionsOrder,
    Level,
    Most,
    ProjectsOrder,
    Transport,
    Words,
)
from synkora.collaboration.events import MAX_PROJECT_ID
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder

MAX_NOTICE: Final = 500  # characters
_MOST_INSTANCES: Final = 1000  # in a list of marks
_MARK: Final = re.compile(r"(?P<instance>[A-Za-z0-9]{1,40}):(?P<mark>[0-9]{1,15}(?:\.[0-9]{1,20})?)")
_PATH: Final = re.compile(r"(?P<problem>.*) - at `\$\.?(?P<name>[^`]*)`$", re.DOTALL)

Order = Literal["asc", "desc"]
Offset = Annotated[int, msgspec.Meta(ge=0, le=REACH)]

P = TypeVar("P", bound=msgspec.Struct)


class ConnectionsParameters(msgspec.Struct):
    """Of `GET /console/api/connections`."""

    search: Words = ""
    project: Words = ""
    transport: Transport = ""
    instance: Words = ""
    sort: ConnectionsOrder = "since"
    order: Order = "asc"
    offset: Offset = 0
    limit: Most = 100


class ProjectsParameters(msgspec.Struct):
    """Of `GET /console/api/projects`."""

    search: Words = ""
    sort: ProjectsOrder = "project"
    order: Order = "asc"
    offset: Offset = 0
    limit: Most = 100


class LogParameters(msgspec.Struct):
    """Of `GET /console/api/log`."""

    after: str = ""
    level: Level = "debug"
    instance: Words = ""


class OverviewParameters(msgspec.Struct):
    """Of `GET /console/api/overview`."""

    after: str = ""


class DisconnectBody(msgspec.Struct, rename="camel"):
    """Of `POST /console/api/disconnect`."""

    socket_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class NoticeBody(msgspec.Struct, rename="camel"):
    """Of `POST /console/api/notice`."""

    project_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PROJECT_ID)]
    message: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NOTICE)]


DISCONNECT_BODY: Final[Decoder[DisconnectBody]] = Decoder(DisconnectBody)
NOTICE_BODY: Final[Decoder[NoticeBody]] = Decoder(NoticeBody)


def parameters(given: Mapping[str, str], shape: type[P]) -> P:
    """The parameters of a query. Raises `Refused` for those that cannot be used; others than the shape's are let be."""
    try:
        return msgspec.convert(dict(given), shape, strict=False)
    except msgspec.ValidationError as error:
        found = _PATH.match(str(error))
        raise Refused(422, f"{found['name']}: {found['problem']}" if found else str(error)) from None


def body(data: bytes, decoder: Decoder[P]) -> P:
    """What a body holds. Raises `Refused`."""
    try:
        return decoder.decode(data)
    except (ProtocolError, InvalidPayload) as error:
        raise Refused(422, str(error)) from None


def marks(text: str) -> dict[str, str]:
    """How far the page is with each instance, written as `id:mark,id:mark`. Raises `Refused`."""
    found: dict[str, str] = {}
    for part in text.split(",", _MOST_INSTANCES)[:_MOST_INSTANCES] if text else ():
        mark = _MARK.fullmatch(part)
        if mark is None:
            raise Refused(422, "after: a list such as id:12,id:34 is expected")
        found[mark["instance"]] = mark["mark"]
    return found


def reach(offset: int, limit: int) -> int:
    """How many rows from the first on a page needs. Raises `Refused` for one too far away."""
    if offset + limit > REACH:
        raise Refused(422, f"Only the first {REACH} rows can be paged through: search for what you need, or sort it")
    return offset + limit
