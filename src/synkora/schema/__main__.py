"""Prints the events of an application: `python -m synkora.schema typescript chat:server`."""

import argparse
import importlib
import json
import sys
from pathlib import Path

from synkora.schema.asyncapi import asyncapi
from synkora.schema.typescript import typescript
from synkora.schema.undeclared import imported_files, undeclared
from synkora.sockets.internals import declared_events, namespaces_of
from synkora.sockets.server import SocketServer


def main() -> None:
    """Print the requested form."""
    parser = argparse.ArgumentParser(prog="python -m synkora.schema", description=__doc__)
    parser.add_argument("form", choices=("asyncapi", "typescript"))
    parser.add_argument("server", help="a module and the name of its SocketServer, as in chat:server")
    parser.add_argument("--title", default="Socket.IO server", help="of the AsyncAPI document")
    parser.add_argument("--version", default="1.0.0", help="of the AsyncAPI document")
    given = parser.parse_args()
    module, _, name = given.server.partition(":")
    folder = Path.cwd()
    sys.path.insert(0, str(folder))
    try:
        server = _server(module, name or "server")
    except LookupError as error:
        parser.error(str(error.args[0]))
    declared = (event for namespace in namespaces_of(server) for event in declared_events(namespace))
    for emit in undeclared(imported_files(folder), declared):
        place = f"{emit.file.relative_to(folder)}:{emit.line}"
        sys.stderr.write(f"{place}: {emit.event!r} is emitted and not declared: namespace.declare({emit.event!r}, …)\n")
    if given.form == "typescript":
        sys.stdout.write(typescript(server))
    else:
        sys.stdout.write(json.dumps(asyncapi(server, title=given.title, version=given.version), indent=2) + "\n")


def _server(module: str, name: str) -> SocketServer:
    """Import a server. Raises `LookupError` if there is no such module or name, or the name is another object."""
    if not all(part.isidentifier() for part in module.split(".")) or module.endswith(".py"):
        raise LookupError(f"{module!r} is no module: the server in chat.py is chat:server")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # an import of the application
        raise LookupError(f"there is no module {error.name} in this folder or on sys.path") from None
    if not hasattr(found, name):
        raise LookupError(f"the module {module} has no {name}")
    server = getattr(found, name)
    if not isinstance(server, SocketServer):
        raise LookupError(f"{module}:{name} is no SocketServer")
    return server


if __name__ == "__main__":
    main()
