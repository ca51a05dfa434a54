"""The `synkora` command, which is `python -m synkora` too."""

import os
import signal

_STDIN = 0


def main() -> None:
    """Run the command line, and exit with its status.

    A SIGHUP waits until the server can take it as a reload. It would end the process otherwise, and to import the
    server takes a second. In a terminal it is the terminal's end, and does end the process.
    """
    if not os.isatty(_STDIN):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from synkora.app.commands import main as run

    run()


if __name__ == "__main__":
    main()
