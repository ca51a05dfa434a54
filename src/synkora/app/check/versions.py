"""The versions of Python, of this package and of its libraries."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Final

from packaging.requirements import Requirement

from synkora import __version__
from synkora.app.check.finding import Finding, risky, well, wrong
from synkora.app.settings import Settings

#: The libraries that the report names.
_SHOWN: Final = ("uvicorn", "uvloop", "picows")


def check_versions(_: Settings) -> Iterator[Finding]:
    """Check that the installed libraries have the required versions."""
    unfit = list(_unfit())
    for name, found, wanted in unfit:
        yield wrong(
            "versions",
            f"{name} {found} is installed, and this version of the server was made for {name}{wanted}",
            "Install the server into a virtual environment of its own: pip install --require-hashes -r "
            "requirements/run.txt",
        )
    if platform.system() != "Linux":
        yield risky("versions", f"the server has not been tried on {platform.system()}", "Run it on Linux")
    elif not unfit:
        libraries = ", ".join(f"{name} {version(name)}" for name in _SHOWN)
        yield well("versions", f"synkora {__version__}, Python {platform.python_version()}, {libraries}")


def _unfit() -> Iterator[tuple[str, str, str]]:
    """Yield each library with an unsuitable version: name, version, requirement."""
    extras = metadata("synkora").get_all("Provides-Extra") or ()
    for requirement in map(Requirement, requires("synkora") or ()):
        marker = requirement.marker
        is_basic = marker is None or marker.evaluate()
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            if is_basic:  # the settings say whether the others are needed
                yield requirement.name, "not", str(requirement.specifier)
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            yield requirement.name, found, str(requirement.specifier)
