"""The HTTP API for the app's backend."""

from pydantic import BaseModel, Field

from synkora.app.settings.values import ApiPortValue, ApiTokensValue


class HttpApiSettings(BaseModel):
    api_tokens: ApiTokensValue = Field(
        default=(),
        validation_alias="API_TOKEN",
        description="Bearer token of the app's backend for the HTTP API, 16 characters or more; several with commas "
        "between them, to replace one without a pause. Unset: no API.",
    )
    api_port: ApiPortValue = Field(
        default=None,
        validation_alias="API_PORT",
        description="Port on which the HTTP API is served, instead of WS_PORT.",
    )
