"""Writes the events of an application: `python -m synkora.schema typescript chat:server`."""

import argparse
import importlib
import json
import sys
from pathlib import Path

from synkora.schema.asyncapi import asyncapi
from synkora.schema.typescript import typescript
from synkora.sockets.server import SocketServer


def main() -> None:
    """Print the form that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m synkora.schema", description=__doc__)
    parser.add_argument("form", choices=("asyncapi", "typescript"))
    parser.add_argument("server", help="a module and the name of its SocketServer, as in chat:server")
    parser.add_argument("--title", default="Socket.IO server", help="of the AsyncAPI document")
    parser.add_argument("--version", default="1.0.0", help="of the AsyncAPI document")
    given = parser.parse_args()
    module, _, name = given.server.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    server = getattr(importlib.import_module(module), name or "server", None)
    if not isinstance(server, SocketServer):
        parser.error(f"{given.server} is no SocketServer")
    if given.form == "typescript":
        sys.stdout.write(typescript(server))
    else:
        sys.stdout.write(json.dumps(asyncapi(server, title=given.title, version=given.version), indent=2) + "\n")


if __name__ == "__main__":
    main()
