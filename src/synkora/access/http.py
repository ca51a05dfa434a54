"""The access policy that asks the app, with the user's own session."""

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from synkora.access.forwarded_cookie import CHUNK, session_cookie
from synkora.access.roles import QUERY_TIMEOUT, is_valid_project_id, member_role
from synkora.collaboration.access import AccessUnavailable, Role, SessionRefused
from synkora.identity.sign_in import SignedIn
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder

MAX_ANSWER: Final = 5_000_000  # bytes

_OK: Final = 200
_UNAUTHORIZED: Final = 401
_NO_ACCESS: Final = frozenset({_UNAUTHORIZED, 403, 404})
# The request is too long. Its length is that of the session: all else is short.
_TOO_LONG: Final = frozenset({413, 414, 431})
_BAD_REQUEST: Final = 400
# An app on Node.js closes an idle connection after 5 s: close earlier, so that no request meets a closing connection.
_LIMITS: Final = httpx.Limits(max_connections=20, max_keepalive_connections=20, keepalive_expiry=4)
# A compressed answer could decompress to any size.
_HEADERS: Final = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "synkora"}
# URL normalisation resolves these segments, escaped or not, to another path (RFC 3986, section 5.2.4).
_DOT_SEGMENTS: Final = frozenset({".", ".."})


class _Member(msgspec.Struct, gc=False):
    user_id: str = msgspec.field(name="userId")
    role: str = ""


class _Team(msgspec.Struct):
    members: list[_Member] = []


class _Project(msgspec.Struct, rename="camel"):
    created_by_id: str
    id: str | None = None
    team_id: str | None = None
    team: _Team | None = None


_DECODER: Final[Decoder[_Project]] = Decoder(_Project)


class HttpAccess:
    """Asks the app for the project, as the user. A user who may see a project may join it, with the role in the answer.

    `app_url` is the app's address, with its base path if it has one. `session_cookie` is the name of the app's session
    cookie, if it is not one of the usual names. Raises `ValueError` for an invalid address, with a message that
    contains no part of the address. TLS uses the system's certificates (`SSL_CERT_FILE` names others). Proxies of the
    environment are not used, since a proxy would see session tokens.
    """

    def __init__(self, app_url: str, *, session_cookie: str = "") -> None:
        self._projects_url = _checked(app_url).rstrip("/") + "/api/projects/"
        self._cookie_name = session_cookie
        self._secure = app_url.lower().startswith("https:")
        self._tls: ssl.SSLContext | bool = ssl.create_default_context() if self._secure else False
        self._client: httpx.AsyncClient | None = None
        self._closed = False

    async def role(self, signed_in: SignedIn, project_id: str) -> Role | None:
        """Return the user's role in a project, or None without access.

        Raises `AccessUnavailable` and `SessionRefused`.
        """
        if not is_valid_project_id(project_id) or project_id in _DOT_SEGMENTS:
            return None
        headers = {"cookie": session_cookie(signed_in, secure=self._secure, name=self._cookie_name)}
        try:
            async with self._opened().stream(
                "GET", self._projects_url + quote(project_id, safe=""), headers=headers
            ) as response:
                _check_length(response.status_code, signed_in.token)
                answer = await _read(response)
                if response.status_code == _UNAUTHORIZED:
                    raise SessionRefused(signed_in.token)
        except httpx.ConnectError as error:
            raise AccessUnavailable(f"the app cannot be reached: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The error's message might quote the header with the token.
            raise AccessUnavailable(f"the app did not answer: {type(error).__name__}") from None
        return None if answer is None else _role_in(answer, signed_in.user.id, project_id)

    async def close(self) -> None:
        """Close the connections. Later calls raise `AccessUnavailable`."""
        self._closed = True
        if self._client is not None:
            await self._client.aclose()

    def _opened(self) -> httpx.AsyncClient:
        if self._closed:
            raise AccessUnavailable("the server is stopping")
        if self._client is None:
            # The app may renew one user's session in its answer: no cookie may be stored for the next user's request.
            no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
            self._client = httpx.AsyncClient(
                cookies=no_cookies,
                headers=_HEADERS,
                limits=_LIMITS,
                timeout=QUERY_TIMEOUT,
                trust_env=False,
                verify=self._tls,
            )
        return self._client


def _check_length(status: int, token: str) -> None:
    """Raise `SessionRefused` if the session is too long for the app, or for a proxy before it."""
    # nginx and others answer 400 to a long cookie. To a session that fits into one cookie, 400 has another reason.
    if status in _TOO_LONG or (status == _BAD_REQUEST and len(token) > CHUNK):
        raise SessionRefused(token, f"the app answered with status {status}: the session may be too long for it")


async def _read(response: httpx.Response) -> bytes | None:
    status = response.status_code
    if status != _OK and status not in _NO_ACCESS:
        raise AccessUnavailable(f"the app answered with status {status}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise AccessUnavailable("the app's answer is compressed")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > MAX_ANSWER:
            raise AccessUnavailable(f"the app's answer has more than {MAX_ANSWER} bytes")
    return bytes(body) if status == _OK else None


def _role_in(answer: bytes, user_id: str, project_id: str) -> Role | None:
    try:
        project = _DECODER.decode(answer)
    except (InvalidPayload, ProtocolError):
        raise AccessUnavailable("the app's answer is not a project") from None
    if project.id is not None and project.id != project_id:
        return None  # the app, or a proxy, resolved the address to another project
    if project.team is None and project.team_id is None:
        return Role.OWNER if project.created_by_id == user_id else Role.VIEWER
    members = project.team.members if project.team else ()
    return next((member_role(member.role) for member in members if member.user_id == user_id), Role.VIEWER)


def _checked(app_url: str) -> str:
    try:
        parts = urlsplit(app_url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        httpx.URL(app_url)
    except (ValueError, httpx.InvalidURL):
        whole = False
    if not whole or "?" in app_url or "#" in app_url:
        raise ValueError("must be the app's address, like https://app.example.com, without ? and #")
    return app_url
