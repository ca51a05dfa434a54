"""Writes docs/configuration.md from the settings: `python docs/site/configuration.py`."""

from pathlib import Path
from typing import Final

from synkora.app.settings.variables import GROUPS, Variable, allowed, describe

PAGE: Final = Path(__file__).parents[1] / "configuration.md"

#: For each group of settings, its heading, and what to know of its variables together.
HEADINGS: Final = (
    ("The web app", "What this server and the app must agree on. [Security](security.md) has the reasons."),
    ("Where it listens", "[Deploying](deploying.md) has proxies and TLS."),
    ("Several workers and instances", "[Scaling](scaling.md) has the rest."),
    ("Connections", '"In Socket.IO" names the option of Socket.IO\'s server on Node.js.'),
    ("Recovery", "[Recovery](recovery.md) says what is guaranteed, and what it costs."),
    (
        "Limits",
        "A refused client learns when to try again; [security](security.md#limits) has the answer of each limit.",
    ),
    ("The HTTP API", "[HTTP API](http-api.md) describes it."),
    ("Operation", "[Deploying](deploying.md) and [metrics](metrics.md) have the rest."),
)
SOCKET_IO: Final = {
    "WS_PING_INTERVAL": "pingInterval",
    "WS_PING_TIMEOUT": "pingTimeout",
    "WS_TRANSPORTS": "transports",
    "WS_MAX_PAYLOAD": "maxHttpBufferSize",
    "WS_COMPRESSION": "perMessageDeflate, httpCompression",
    "WS_COMPRESSION_THRESHOLD": "perMessageDeflate.threshold",
    "WS_CONNECT_TIMEOUT": "connectTimeout",
    "WS_UPGRADE_TIMEOUT": "upgradeTimeout",
}
HEAD: Final = """# Configuration

Each setting is an environment variable, or a line `NAME=value` of a file in the working folder. The environment wins,
then `.env.production.local`, `.env.local`, `.env.production` and `.env`, in that order. If `SYNKORA_ENV` (or else
`NODE_ENV`) is not `production`, the names have `development` in place of `production`.

The server reads the files as Next.js does, so that the app and this server may share them: `#` begins a comment, except
in quotes; `$NAME` and `${NAME:-default}` are replaced, in every kind of quotes; `\\$` is a dollar sign. Unlike in the
app, an empty variable counts as not set. The server strips quotes around a value of the environment, which
`docker --env-file` leaves there.

Durations are in seconds, sizes in bytes; lists are comma-separated. If the server cannot use a value, it writes one
line for each such variable to stderr, and does not start. Only `NEXTAUTH_SECRET` is required.

For development, `make run` writes a `.env.local`. Put the app's own secret there to let the app's users in:

```sh
NEXTAUTH_SECRET=the-app-s-secret
ALLOWED_ORIGINS=http://localhost:3000
```

For production, behind a proxy on the same host:

```sh
SYNKORA_ENV=production
NEXTAUTH_SECRET=…
ALLOWED_ORIGINS=https://app.example.com
WS_HOST=127.0.0.1
TRUSTED_PROXIES=127.0.0.1
PROJECT_ACCESS=postgres
DATABASE_URL=postgresql://synkora_ws:…@127.0.0.1:5432/synkora?schema=public
```
"""


def configuration() -> str:
    """The page: every variable, by group."""
    parts = [HEAD]
    for group, (heading, about) in zip(GROUPS, HEADINGS, strict=True):
        parts.append(f"\n## {heading}\n\n{about}\n")
        parts += map(_entry, describe([group]))
    return "".join(parts)


def _entry(variable: Variable) -> str:
    default = "required" if variable.default is None else f"`{variable.default}`" if variable.default else "not set"
    lines = [
        f"\n### {variable.name}\n",
        f"{variable.description}",
        "",
        f"- Default: {default}",
    ]
    if words := allowed(variable.name):
        lines.append(f"- Allowed: {words}")
    if variable.name in SOCKET_IO:
        lines.append(f"- In Socket.IO: `{SOCKET_IO[variable.name]}`")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(configuration(), encoding="utf-8")
