"""`python -m synkora` is the `synkora` command."""

from synkora.app.commands import main

if __name__ == "__main__":
    main()
