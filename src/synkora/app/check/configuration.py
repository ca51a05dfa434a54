"""The settings themselves, and where they come from."""

import difflib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from synkora.app.check.finding import Finding, risky, well, wrong
from synkora.app.settings import Settings, SettingsError, describe, read_settings

#: What `read_configuration` looks at.
NAMES: Final = ("settings", "settings-files", "settings-names")

_FILES: Final = (".env", ".env.local")
_OTHERS: Final = frozenset(("SSL_CERT_DIR", "SSL_CERT_FILE"))  # OpenSSL's own, like ours by chance
_ALIKE: Final = 0.88  # REDIS_URI is like REDIS_URL, and the app's own REDIS_TLS_URL is not


def read_configuration(*, host: str | None = None, port: int | None = None) -> tuple[Settings | None, list[Finding]]:
    """The settings as the server would read them, and what is to be said of them; None where they cannot be read."""
    try:
        settings = read_settings(host=host, port=port)
    except SettingsError as error:
        advice = "Correct it in the environment, or in .env.local; synkora serve --help has them all"
        return None, [wrong("settings", line, advice) for line in error.lines]
    sources = _sources()
    return settings, [*_values(settings, sources), *_files(), *_names(sources)]


def _sources() -> dict[str, set[str]]:
    """The names of the variables of each source, the one that wins first."""
    files = {file: set(dotenv_values(file, interpolate=False)) for file in reversed(_FILES) if Path(file).is_file()}
    return {"the environment": set(os.environ), **files}


def _values(settings: Settings, sources: dict[str, set[str]]) -> Iterator[Finding]:
    contradictions = settings.contradictions()
    for line in contradictions:
        yield wrong("settings", line, "Until they agree, the server does not start")
    if not contradictions:
        known = {variable.name for variable in describe()}
        counts = [f"{len(names & known)} from {source}" for source, names in sources.items() if names & known]
        yield well("settings", f"they can be read, and agree: {', '.join(counts) or 'all by default'}")


def _files() -> Iterator[Finding]:
    found = [file for file in map(Path, _FILES) if file.is_file()]
    exposed = [file for file in found if stat.S_IMODE(file.stat().st_mode) & stat.S_IRWXO]
    for file in exposed:
        yield risky(
            "settings-files", f"every user of this machine may read {file}, and the secret in it", f"chmod 600 {file}"
        )
    if not exposed:
        names = " and ".join(map(str, found))
        kept = f"{names}: not for every user of this machine" if found else "neither .env.local nor .env is here"
        yield well("settings-files", kept)


def _names(sources: dict[str, set[str]]) -> Iterable[Finding]:
    known = [variable.name for variable in describe()]
    findings = []
    for source, names in sources.items():
        for name in sorted(names.difference(known, _OTHERS)):
            if meant := difflib.get_close_matches(name, known, 1, _ALIKE):
                message = f"{name}, from {source}, is no setting of this server's"
                advice = f"Write {meant[0]}, if that is what you mean; leave it if it is the web app's"
                findings.append(risky("settings-names", message, advice))
    return findings or [well("settings-names", "none that looks like a mistake")]
