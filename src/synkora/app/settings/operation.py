"""Shutdown, logs, metrics, console, webhooks, and the server inside another application."""

from pydantic import BaseModel

from synkora.app.settings.values import (
    ConsoleTokenValue,
    FlagValue,
    FormatValue,
    GracePeriodValue,
    LevelValue,
    TokenValue,
    WebhookSecretsValue,
    WebhookUrlValue,
    setting,
)


class OperationSettings(BaseModel):
    shutdown_timeout: GracePeriodValue = setting(
        "SHUTDOWN_TIMEOUT",
        5,
        "Longest shutdown in seconds; clients have up to two of these seconds to get their last messages.",
    )
    shutdown_drain: GracePeriodValue = setting(
        "SHUTDOWN_DRAIN",
        0,
        "Seconds over which a stopping instance sends its clients to the others; 0: all at once. Only with REDIS_URL, "
        "or when a reload replaces one of several workers.",
    )
    log_level: LevelValue = setting("LOG_LEVEL", "info", "Least severe lines to log: debug, info, warning or error.")
    log_format: FormatValue = setting("LOG_FORMAT", "text", "text: readable lines; json: one object a line.")
    metrics_token: TokenValue = setting(
        "METRICS_TOKEN",
        None,
        "Bearer token that Prometheus needs to read /metrics; unset: everyone who can reach the port may read "
        "/metrics.",
    )
    console_token: ConsoleTokenValue = setting(
        "CONSOLE_TOKEN",
        None,
        "Token with which operators sign in to /console, 16 characters or more. Unset: the console is off; in "
        "development it is open to localhost only.",
    )
    admin_ui: FlagValue = setting(
        "ADMIN_UI", False, "true: Socket.IO's Admin UI may connect, with CONSOLE_TOKEN as its password."
    )
    webhook_url: WebhookUrlValue = setting(
        "WEBHOOK_URL",
        None,
        "Address of the app's backend that is told who enters and leaves projects. Unset: no webhooks.",
    )
    webhook_secrets: WebhookSecretsValue = setting(
        "WEBHOOK_SECRET",
        (),
        "Secret that signs the webhooks, as Standard Webhooks write it: whsec_ and base64; several with commas between "
        "them, to replace one without a pause.",
    )
    is_integrated: FlagValue = setting(
        "ENABLE_INTEGRATED_WEBSOCKET",
        True,
        "false: a Python web app with this server inside does not serve Socket.IO itself. No effect on synkora serve.",
    )
