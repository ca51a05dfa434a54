"""What a worker gets from the parent: its number, its sockets, and the folder that all workers share."""

import os
import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final, Self

import msgspec

from synkora.protocol.json import Decoder, encode

#: The folder that all workers of one parent share, and a worker's number.
FOLDER: Final = "SYNKORA_WORKERS_DIR"
NUMBER: Final = "SYNKORA_WORKER"
_SEAT: Final = "SYNKORA_WORKER_SEAT"


class Seat(msgspec.Struct, frozen=True):
    """A worker's place; `control` and `listening` are inherited file descriptors.

    `listening` has a group of sockets for each worker's number, which share the port, or a single one for all.

    `count` is the number of workers, `slot` the place of its count of clients: while a worker is replaced, two
    processes have one number and different slots. `started_at` is the server's start, in seconds since the epoch.
    `may_drain`: other servers share the Redis, so that clients can be sent there when all workers stop.
    """

    number: int
    slot: int
    count: int
    folder: str
    control: int
    listening: list[list[int]]
    started_at: float
    may_drain: bool

    @classmethod
    def take(cls, environment: MutableMapping[str, str] = os.environ) -> Self | None:
        """Return the seat that the parent has put into the environment; None for a process that is no worker."""
        given = environment.pop(_SEAT, None)
        if given is None:
            return None
        seat: Decoder[Self] = Decoder(cls)
        return seat.decode(given.encode())

    def variables(self) -> dict[str, str]:
        """The variables of the worker's environment."""
        return {
            FOLDER: self.folder,
            NUMBER: str(self.number),
            _SEAT: encode(self).decode(),
        }

    def groups(self) -> list[list[socket.socket]]:
        """Return the groups of listening sockets."""
        return [[_inherited(descriptor) for descriptor in group] for group in self.listening]

    def control_socket(self) -> socket.socket:
        """Return the connection to the parent."""
        return _inherited(self.control)

    @property
    def path(self) -> Path:
        return Path(self.folder)


def _inherited(number: int) -> socket.socket:
    os.set_inheritable(number, False)
    inherited = socket.socket(fileno=number)
    inherited.setblocking(False)
    return inherited
