"""The WebSocket server of Synkora: an Engine.IO and Socket.IO server, and the collaboration that runs on it."""

from importlib.metadata import version

from synkora.serving.server import serve
from synkora.sockets.broadcast import Broadcast
from synkora.sockets.errors import AckTimeout, ConnectRefused, EventRefused, TooManyCalls
from synkora.sockets.namespace import Namespace
from synkora.sockets.remote import RemoteSocket
from synkora.sockets.server import SocketServer
from synkora.sockets.snapshot import Handshake
from synkora.sockets.socket import Socket

__version__ = version("synkora")

__all__ = [
    "AckTimeout",
    "Broadcast",
    "ConnectRefused",
    "EventRefused",
    "Handshake",
    "Namespace",
    "RemoteSocket",
    "Socket",
    "SocketServer",
    "TooManyCalls",
    "__version__",
    "serve",
]
