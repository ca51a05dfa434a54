"""Begins the checks: whether the settings can be read, with all that is wrong in them, and their files and names."""

import stat
from collections.abc import Iterable, Iterator
from typing import Final

from synkora.app.check.finding import Finding, risky, well, wrong
from synkora.app.settings import Settings, SettingsError, read_settings, sources
from synkora.app.settings.variables import describe, unknown_names

#: The names of the checks in `read_configuration`.
NAMES: Final = ("settings", "settings-files", "settings-names")


def read_configuration(*, host: str | None = None, port: int | None = None) -> tuple[Settings | None, list[Finding]]:
    """Return the settings as the server would read them (None if they are invalid), and the findings."""
    try:
        settings = read_settings(host=host, port=port)
    except SettingsError as error:
        advice = "Correct it in the environment, or in .env.local; synkora serve --help has them all"
        return None, [wrong("settings", line, advice) for line in error.lines]
    names = sources.names()
    return settings, [*_values(settings, names), *_files(), *_names(names)]


def _values(settings: Settings, found: dict[str, set[str]]) -> Iterator[Finding]:
    contradictions = settings.contradictions()
    for line in contradictions:
        yield wrong("settings", line, "Until they agree, the server does not start")
    if not contradictions:
        known = {variable.name for variable in describe()}
        counts = [f"{len(names & known)} from {source}" for source, names in found.items() if names & known]
        yield from _quotes(known)
        yield well("settings", f"valid and consistent: {', '.join(counts) or 'all by default'}")


def _files() -> Iterator[Finding]:
    found = [file for file in sources.files() if file.is_file()]
    exposed = [file for file in found if stat.S_IMODE(file.stat().st_mode) & stat.S_IRWXO]
    for file in exposed:
        yield risky(
            "settings-files", f"every user of this machine may read {file}, and the secret in it", f"chmod 600 {file}"
        )
    if not exposed:
        names = " and ".join(map(str, found))
        kept = (
            f"{names}: not readable for other users of this machine" if found else "neither .env.local nor .env is here"
        )
        yield well("settings-files", kept)


def _quotes(known: set[str]) -> Iterator[Finding]:
    for name in sorted(known.intersection(sources.quoted_names())):
        yield risky(
            "settings",
            f"{name}, from the environment, has quotes around its value, as docker --env-file leaves them: it is read "
            "without the quotes",
            "Take the quotes out of the file that docker reads: for the app they would be a part of the value",
        )


def _names(found: dict[str, set[str]]) -> Iterable[Finding]:
    findings = [
        risky(
            "settings-names",
            f"{name}, from {source}, is no setting of this server's",
            f"Write {meant}, if that is what you mean; leave it if it is the web app's",
        )
        for name, source, meant in unknown_names(found)
    ]
    return findings or [well("settings-names", "no misspelt variable")]
