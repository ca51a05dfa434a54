"""The `synkora` command, which is `python -m synkora` too."""

import importlib
import os
import signal
import sys

from synkora.extras import advice

_STDIN = 0


def main() -> None:
    """Run the command line, and exit with its status.

    A SIGHUP waits until the server can take it as a reload. It would end the process otherwise, and to import the
    server takes a second. In a terminal it is the terminal's end, and does end the process.
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

    It would be an eighth of what a start takes.
    """
    is_new = "rich" not in sys.modules
    if is_new:
        sys.modules["rich"] = None  # type: ignore[assignment]  # has `import rich` fail, as the import system documents
    importlib.import_module("structlog")
    if is_new:
        del sys.modules["rich"]


if __name__ == "__main__":
    main()
