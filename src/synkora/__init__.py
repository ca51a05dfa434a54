"""The WebSocket server of Synkora: an Engine.IO and Socket.IO server, and the collaboration that runs on it."""

from importlib.metadata import version

from synkora.app.serving import serve
from synkora.sockets.errors import AckTimeout, ConnectRefused, EventRefused, TooManyCalls
from synkora.sockets.namespace import Namespace
from synkora.sockets.server import SocketServer
from synkora.sockets.socket import Handshake, Socket

__version__ = version("synkora")

__all__ = [
    "AckTimeout",
    "ConnectRefused",
    "EventRefused",
    "Handshake",
    "Namespace",
    "Socket",
    "SocketServer",
    "TooManyCalls",
    "__version__",
    "serve",
]
