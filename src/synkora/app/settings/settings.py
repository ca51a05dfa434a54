"""All settings as one object, and the contradictions between them."""

from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from synkora.app.settings import sources
from synkora.app.settings.connections import ConnectionSettings
from synkora.app.settings.http_api import HttpApiSettings
from synkora.app.settings.instances import InstanceSettings
from synkora.app.settings.limits import LimitSettings
from synkora.app.settings.listening import ListeningSettings
from synkora.app.settings.operation import OperationSettings
from synkora.app.settings.recovery import RecoverySettings
from synkora.app.settings.variables import describe, unknown_names
from synkora.app.settings.warnings import origin_warnings, secret_warnings
from synkora.app.settings.web_app import WebAppSettings


class _Variables(PydanticBaseSettingsSource):
    """Reads settings from the environment and the files."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: `__call__` reads all variables at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = sources.variables()
        known = {variable.name for variable in describe()}
        values: dict[str, Any] = {name: value for name, value in found.items() if name in known}
        secret = next((found[name] for name in sources.SECRET_NAMES if name in found), None)
        if secret is not None:
            values["NEXTAUTH_SECRET"] = secret
        values["further_secrets"] = tuple(sources.secrets_besides(found))
        return values


class Settings(
    OperationSettings,
    HttpApiSettings,
    LimitSettings,
    RecoverySettings,
    ConnectionSettings,
    InstanceSettings,
    ListeningSettings,
    WebAppSettings,
    BaseSettings,
):
    """The server's settings, checked and normalised; durations are in seconds and sizes in bytes.

    pydantic orders fields from the last base to the first.
    """

    model_config = SettingsConfigDict(
        case_sensitive=True,
        extra="ignore",  # .env.local is shared with the web app
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments override variables."""
        return init_settings, _Variables(settings_cls)

    @property
    def secret_variable(self) -> str:
        """The variable that holds the secret."""
        is_v5 = self.auth_secret is not None and self.auth_secret == self.secret
        return "AUTH_SECRET" if is_v5 else "NEXTAUTH_SECRET"

    @property
    def has_playground(self) -> bool:
        """Whether the playground is served: in development only."""
        return self.environment == "development"

    @property
    def has_console(self) -> bool:
        """Whether the console is served: with a token, or in development."""
        return self.console_token is not None or self.environment == "development"

    @property
    def accepted_secrets(self) -> tuple[str, ...]:
        """The secrets, besides the current one, whose tokens are accepted."""
        return tuple(secret.get_secret_value() for secret in (*self.previous_secrets, *self.further_secrets))

    def cautions(self) -> list[str]:
        """Advice to change settings, one line each, without secrets."""
        return [*self._weak_secrets(), *origin_warnings(self.allowed_origins), *self._idle(), *_mistaken()]

    def _idle(self) -> list[str]:
        """Settings without effect, one line each."""
        found: list[str] = []
        if self.shutdown_drain and self.redis_url is None and self.workers == 1:
            found.append("SHUTDOWN_DRAIN does nothing without REDIS_URL: there is no other instance to send clients to")
        if self.state_dir is not None and not self.recovery:
            found.append("STATE_DIR does nothing with RECOVERY=false: nothing is kept")
        elif self.state_dir is not None and self.redis_url is None and self.workers != 1:
            found.append(
                "STATE_DIR does nothing with several workers: they keep all in a Redis of their own, which ends with "
                "the server. To keep it, set REDIS_URL"
            )
        if self.api_port is not None and not self.api_tokens:
            found.append("API_PORT does nothing without API_TOKEN: there is no API")
        if self.webhook_secrets and self.webhook_url is None:
            found.append("WEBHOOK_SECRET does nothing without WEBHOOK_URL: there are no webhooks")
        return found

    def problems(self) -> list[str]:
        """Reasons why a server cannot start with these settings, one line each, without secrets."""
        weak = self._weak_secrets() if self.environment == "production" else []
        return [*(f"SYNKORA_ENV is production, and {line}" for line in weak), *self.contradictions()]

    def contradictions(self) -> list[str]:
        """Contradictions between settings, one line each, without secrets."""
        found: list[str] = []
        if (self.ssl_certfile is None) is not (self.ssl_keyfile is None):
            given, missing = ("SSL_CERTFILE", "SSL_KEYFILE")[:: 1 if self.ssl_certfile else -1]
            found.append(f"{given} is set, but {missing} is not: TLS needs both")
        if self.project_access == "http" and self.app_url is None:
            found.append("PROJECT_ACCESS is http, but APP_URL is not set: it is where to ask")
        if self.project_access == "postgres" and self.database_url is None:
            found.append("PROJECT_ACCESS is postgres, but DATABASE_URL is not set: it is where to ask")
        if self.publish_from == "postgres" and self.database_url is None:
            found.append("PUBLISH_FROM is postgres, but DATABASE_URL is not set: it is where the outbox is")
        if self.publish_from == "postgres" and not self.recovery:
            found.append("PUBLISH_FROM is postgres, but RECOVERY is false: a row might be published twice")
        if self.webhook_url is not None and not self.webhook_secrets:
            found.append("WEBHOOK_URL is set, but WEBHOOK_SECRET is not: the app could not tell who writes to it")
        if self.admin_ui and self.console_token is None:
            found.append("ADMIN_UI is true, but CONSOLE_TOKEN is not set: it is the password")
        if self.max_outbox < self.max_payload:
            found.append(
                f"WS_MAX_OUTBOX: {self.max_outbox} is less than WS_MAX_PAYLOAD, {self.max_payload}: "
                "a client that is sent a message of that size would be disconnected"
            )
        return found

    def _weak_secrets(self) -> list[str]:
        previous = tuple(secret.get_secret_value() for secret in self.previous_secrets)
        return list(secret_warnings(self.secret.get_secret_value(), previous, self.secret_variable))


def _mistaken() -> Iterator[str]:
    for name, source, meant in unknown_names(sources.names()):
        yield f"{name}, from {source}, is no setting of this server's: write {meant}, if that is what you mean"
