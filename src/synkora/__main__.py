"""Starts the `synkora` command, also as `python -m synkora`."""

import importlib
import os
import signal
import sys

from synkora.extras import advice

_STDIN = 0


def main() -> None:
    """Run the command line, and exit with its status.

    SIGHUP is blocked until the server can handle it as a reload: it would end the process during the imports, which
    take a second. In a terminal, SIGHUP means that the terminal has closed, and ends the process.
    """
    if not os.isatty(_STDIN):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        _import_structlog()
        from synkora.app.commands import main as run
    except ModuleNotFoundError as error:
        sys.exit(advice("The synkora command", error))
    run()


def _import_structlog() -> None:
    """Import structlog without rich, which structlog imports for a renderer that the server does not use.

    The import would take an eighth of the start time.
    """
    is_new = "rich" not in sys.modules
    if is_new:
        sys.modules["rich"] = None  # type: ignore[assignment]  # makes `import rich` fail, as the import system documents
    importlib.import_module("structlog")
    if is_new:
        del sys.modules["rich"]


if __name__ == "__main__":
    main()
