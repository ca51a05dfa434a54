"""Shutdown, logs, metrics, console, webhooks, and the server inside another application."""

from pydantic import BaseModel, Field

from synkora.app.settings.values import (
    ConsoleTokenValue,
    FlagValue,
    FormatValue,
    GracePeriodValue,
    LevelValue,
    TokenValue,
    WebhookSecretsValue,
    WebhookUrlValue,
)


class OperationSettings(BaseModel):
    shutdown_timeout: GracePeriodValue = Field(
        default=5,
        validation_alias="SHUTDOWN_TIMEOUT",
        description="Longest shutdown in seconds; clients have up to two of these seconds to get their last messages.",
    )
    shutdown_drain: GracePeriodValue = Field(
        default=0,
        validation_alias="SHUTDOWN_DRAIN",
        description="Seconds over which a stopping instance sends its clients to the others; 0: all at once. Only "
        "with REDIS_URL, or when a reload replaces one of several workers.",
    )
    log_level: LevelValue = Field(
        default="info",
        validation_alias="LOG_LEVEL",
        description="Least severe lines to log: debug, info, warning or error.",
    )
    log_format: FormatValue = Field(
        default="text",
        validation_alias="LOG_FORMAT",
        description="text: readable lines; json: one object a line.",
    )
    metrics_token: TokenValue = Field(
        default=None,
        validation_alias="METRICS_TOKEN",
        description="Bearer token that Prometheus needs to read /metrics; unset: everyone who can reach the port may "
        "read /metrics.",
    )
    console_token: ConsoleTokenValue = Field(
        default=None,
        validation_alias="CONSOLE_TOKEN",
        description="Token with which operators sign in to /console, 16 characters or more. Unset: the console is "
        "off; in development it is open to localhost only.",
    )
    admin_ui: FlagValue = Field(
        default=False,
        validation_alias="ADMIN_UI",
        description="true: Socket.IO's Admin UI may connect, with CONSOLE_TOKEN as its password.",
    )
    webhook_url: WebhookUrlValue = Field(
        default=None,
        validation_alias="WEBHOOK_URL",
        description="Address of the app's backend that is told who enters and leaves projects. Unset: no webhooks.",
    )
    webhook_secrets: WebhookSecretsValue = Field(
        default=(),
        validation_alias="WEBHOOK_SECRET",
        description="Secret that signs the webhooks, as Standard Webhooks write it: whsec_ and base64; several with "
        "commas between them, to replace one without a pause.",
    )
    is_integrated: FlagValue = Field(
        default=True,
        validation_alias="ENABLE_INTEGRATED_WEBSOCKET",
        description="false: a Python web app with this server inside does not serve Socket.IO itself. No effect on "
        "synkora serve.",
    )
