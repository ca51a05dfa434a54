"""What the server and the web app must agree on."""

from pydantic import BaseModel, Field, SecretStr

from synkora.app.settings.values import (
    AccessValue,
    CookieNameValue,
    EnvironmentValue,
    OriginsValue,
    PublishFromValue,
    SecretsValue,
    SecretValue,
    TokenValue,
    setting,
)


class WebAppSettings(BaseModel):
    secret: SecretValue = setting(
        "NEXTAUTH_SECRET",
        ...,
        "The web app's secret, which signs and encrypts its tokens; the app has the same variable.",
    )
    auth_secret: TokenValue = setting(
        "AUTH_SECRET",
        None,
        "The secret under Auth.js v5's name. If NEXTAUTH_SECRET is set too, the server accepts tokens of both, and of "
        "AUTH_SECRET_1 to AUTH_SECRET_3.",
    )
    session_cookie: CookieNameValue = setting(
        "SESSION_COOKIE",
        "",
        "Name of the app's session cookie, if the app does not use a default name; the default names count too.",
    )
    previous_secrets: SecretsValue = setting(
        "NEXTAUTH_SECRET_PREVIOUS", (), "Former secrets, comma-separated; the server still accepts their tokens."
    )
    environment: EnvironmentValue = setting(
        "SYNKORA_ENV",
        "development",
        "development or production. Production refuses a weak NEXTAUTH_SECRET instead of warning, and has no "
        "playground.",
    )
    allowed_origins: OriginsValue = setting(
        "ALLOWED_ORIGINS",
        ("http://localhost:3000",),
        "Origins that browsers may connect from, comma-separated; https://*.example.com, http://localhost:*, "
        "capacitor://localhost and * work too.",
    )
    project_access: AccessValue = setting(
        "PROJECT_ACCESS",
        "open",
        "Who may join a project: open (every signed-in user), http (the app decides) or postgres (the app's database "
        "decides).",
    )
    app_url: str | None = setting(
        "APP_URL", None, "The web app's address, as this server reaches it, for PROJECT_ACCESS=http."
    )
    database_url: SecretStr | None = setting(
        "DATABASE_URL",
        None,
        "The web app's database, in Prisma's format, for PROJECT_ACCESS=postgres and for sessions that the app keeps "
        "in its database.",
    )
    publish_from: PublishFromValue = setting(
        "PUBLISH_FROM",
        "none",
        "postgres: publish what the app writes into the table synkora_outbox of its database, at DATABASE_URL; none: "
        "do not.",
    )
    # Without a description, because this is not a variable: other secrets that the sources found.
    further_secrets: SecretsValue = Field(default=(), validation_alias="further_secrets")
