"""Reads the names, defaults, descriptions and allowed values of all settings out of the modules of this folder."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from pydantic import BaseModel

from synkora.app.settings import sources
from synkora.app.settings.connections import ConnectionSettings
from synkora.app.settings.http_api import HttpApiSettings
from synkora.app.settings.instances import InstanceSettings
from synkora.app.settings.limits import LimitSettings
from synkora.app.settings.listening import ListeningSettings
from synkora.app.settings.operation import OperationSettings
from synkora.app.settings.recovery import RecoverySettings
from synkora.app.settings.values import Allowed
from synkora.app.settings.web_app import WebAppSettings

#: The groups of docs/configuration.md, in its order.
GROUPS: Final[tuple[type[BaseModel], ...]] = (
    WebAppSettings,
    ListeningSettings,
    InstanceSettings,
    ConnectionSettings,
    RecoverySettings,
    LimitSettings,
    HttpApiSettings,
    OperationSettings,
)

_OTHERS = frozenset(("SSL_CERT_DIR", "SSL_CERT_FILE"))  # OpenSSL's variables, similar to ours by chance
_ALIKE = 0.88  # REDIS_URI is similar to REDIS_URL, and the app's REDIS_TLS_URL is not


class Variable(NamedTuple):
    """A variable in the help and the documentation; `default` is None for a required variable."""

    name: str
    default: str | None
    description: str


def describe(groups: Iterable[type[BaseModel]] = GROUPS) -> Iterator[Variable]:
    """Yield every variable with its default, as written in a file, and its description."""
    for group in groups:
        for field in group.model_fields.values():
            if field.description is not None:
                default = None if field.is_required() else written(field.default)
                yield Variable(str(field.validation_alias), default, field.description)


def unknown_names(found: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, str, str]]:
    """Yield variables with a name similar to a setting's, each with its source and the probable setting."""
    known = [variable.name for variable in describe()]
    for source, names in found.items():
        for name in sorted(set(names).difference(known, _OTHERS, sources.FORMER_SECRETS)):
            if meant := difflib.get_close_matches(name, known, 1, _ALIKE):
                yield name, source, meant[0]


def allowed(variable: str) -> str:
    """Return a variable's allowed values as the end of a sentence; empty if no short text exists."""
    fields = (field for group in GROUPS for field in group.model_fields.values() if field.validation_alias == variable)
    return next((note.words for note in next(fields).metadata if isinstance(note, Allowed)), "")


def written(value: object) -> str:
    """Return a value as the text of a variable."""
    match value:
        case None:
            return ""
        case tuple():
            return ",".join(map(str, value))
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)
