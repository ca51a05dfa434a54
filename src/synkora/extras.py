"""Says which extra to install when a library is missing."""

from typing import Final

#: The library of each extra that is imported first, by module.
_EXTRAS: Final = {
    "asyncpg": "postgres",
    "cryptography": "server",
    "hiredis": "redis",
    "httpx": "http",
    "idna": "server",
    "joserfc": "server",
    "opentelemetry": "opentelemetry",
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
    """Return a message with the extra that `what` needs. Raises `error` if no extra has the module."""
    module = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(module)
    if extra is None:
        raise error
    return f"{what} needs {module}, which is not installed: pip install 'synkora[{extra}]'"
