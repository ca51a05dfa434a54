"""Fuzzes one harness in this process: its name, then libFuzzer's own options."""

import importlib
import sys
from typing import Any

# Without types, and installed only for fuzzing.
atheris: Any = importlib.import_module("atheris")


def main(name: str, options: list[str]) -> None:
    """Run until libFuzzer ends the process."""
    with atheris.instrument_imports(include=["synkora"]):
        from tests.fuzz.harnesses import HARNESSES
    (harness,) = (harness for harness in HARNESSES if harness.name == name)
    atheris.Setup([sys.argv[0], *options], harness.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
