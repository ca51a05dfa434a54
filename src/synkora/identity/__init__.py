"""Authentication of clients: tokens, session cookies, and the credentials of a handshake.

Pure functions and small frozen classes, without sockets, event loop, HTTP server and settings.
"""

from synkora.identity.errors import TokenInvalid
from synkora.identity.sign_in import Authenticator, SignedIn, SignInRefused, lacks_credentials
from synkora.identity.tokens import Keyring, sign
from synkora.identity.user import User

__all__ = [
    "Authenticator",
    "Keyring",
    "SignInRefused",
    "SignedIn",
    "TokenInvalid",
    "User",
    "lacks_credentials",
    "sign",
]
