"""Which of the package's extras a missing library belongs to."""

from typing import Final

#: Libraries that are imported before others of their extra, by their module.
_EXTRAS: Final = {
    "asyncpg": "postgres",
    "cryptography": "server",
    "hiredis": "redis",
    "httpx": "server",
    "idna": "server",
    "joserfc": "server",
    "packaging": "server",
    "prometheus_client": "server",
    "pydantic": "server",
    "pydantic_settings": "server",
    "rich": "server",
    "starlette": "server",
    "structlog": "server",
    "typer": "server",
}


def advice(what: str, error: ModuleNotFoundError) -> str:
    """Say which extra `what` needs. Raises the error itself where no extra has the module."""
    module = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(module)
    if extra is None:
        raise error
    return f"{what} needs {module}, which is not installed: pip install 'synkora[{extra}]'"
