"""What recovery knows of one socket and of one return.

Source: socketio/socket.io, packages/socket.io-client/lib/socket.ts (`pid` and `offset`).
"""

from enum import StrEnum
from typing import Any, Final, NamedTuple

from synkora.engine.close_reasons import Reason
from synkora.engine.message import Message
from synkora.engine.outbox import HeldOutbox
from synkora.recovery.ports import LoggedEvent, SavedSession
from synkora.recovery.position import Position

#: Reasons for which a connection is lost, so that its client may return. The others end the session.
LOST: Final = frozenset(
    (
        Reason.TRANSPORT_CLOSE,
        Reason.TRANSPORT_ERROR,
        Reason.PING_TIMEOUT,
        Reason.FORCED_SERVER_CLOSE,
        Reason.SERVER_SHUTTING_DOWN,
    )
)
#: What a client that returns has in the payload of CONNECT: its session's secret id, and its last event's position.
RETURN_KEYS: Final = ("pid", "offset")
_LONGEST_PID: Final = 64  # characters; a pid has 20


class RecoveryOutcome(StrEnum):
    """The outcome of a return with a `pid`. The values are metric labels.

    After `EPOCH`, `TRIMMED`, `TOO_MANY`, `UNAVAILABLE` and `DECLINED` the client is in its rooms again, without a
    replay; after the rest nothing is restored.
    """

    RECOVERED = "recovered"
    EPOCH = "epoch"  # the log has lost its memory since
    TRIMMED = "trimmed"  # missed events are no longer kept
    TOO_MANY = "too_many"  # more was missed than one replay may have
    UNAVAILABLE = "unavailable"  # the log could not be reached
    DECLINED = "declined"  # by the application
    UNKNOWN = "unknown"  # the session has ended, is too old, or was never there
    OTHER_USER = "other_user"
    REFUSED = "refused"  # the CONNECT


class Return(NamedTuple):
    """What a client brings that was here before."""

    pid: str
    offset: object


class ReplaySize(NamedTuple):
    """What was found that a client has missed: as many events, with as many bytes of data and attachments."""

    events: int = 0
    bytes: int = 0


class Left:
    """A room that a socket has left: where its membership began, and the number of the last event before the leave."""

    __slots__ = ("joined", "number")

    def __init__(self, joined: int, number: int) -> None:
        self.joined = joined
        self.number = number


class SocketRecovery:
    """The state for a socket's return.

    `began` and `outlived` are those of `SavedSession`. `session` is as it was saved last, and before the reply to
    CONNECT as it was found. `joined` has for each room the number of the last event before the join, and `left` the
    rooms that were left. `after` is where a replay starts. Until the position `until` it has been read, as `missed`,
    which is encoded as `replay`. `outcome` says whether there is a
    replay, and `size` what it costs. `held` has the messages for the socket after `missed` was read, and before the
    reply to CONNECT. `former` is the `pid` that the client returned with if it was not recovered: it works until the
    client is known to have got the reply.
    """

    __slots__ = (
        "after",
        "began",
        "former",
        "held",
        "joined",
        "left",
        "missed",
        "outcome",
        "outlived",
        "pid",
        "replay",
        "session",
        "size",
        "until",
    )

    def __init__(self, pid: str, began: Position, outlived: tuple[str, ...] = ()) -> None:
        self.pid = pid
        self.began = began
        self.outlived = outlived
        self.former = ""
        self.session: SavedSession | None = None
        self.joined: dict[str, int] = {}
        self.left: dict[str, Left] = {}
        self.after: Position | None = None
        self.until: Position | None = None
        self.outcome: RecoveryOutcome | None = None
        self.missed: list[LoggedEvent] = []
        self.replay: list[Message] = []
        self.size = ReplaySize()
        self.held: HeldOutbox | None = None

    @property
    def is_recovered(self) -> bool:
        """Whether the client misses nothing."""
        return self.outcome is RecoveryOutcome.RECOVERED


def take_return(auth: dict[str, Any]) -> Return | None:
    """Remove pid and offset from the payload of CONNECT, and return them; None without a pid."""
    pid, offset = (auth.pop(key, None) for key in RETURN_KEYS)
    if not isinstance(pid, str) or not 0 < len(pid) <= _LONGEST_PID:
        return None
    return Return(pid, offset)
