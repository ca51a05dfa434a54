"""The HTTP API for the app's backend."""

from pydantic import BaseModel

from synkora.app.settings.values import ApiPortValue, ApiTokensValue, setting


class HttpApiSettings(BaseModel):
    api_tokens: ApiTokensValue = setting(
        "API_TOKEN",
        (),
        "Bearer token of the app's backend for the HTTP API, 16 characters or more; several with commas between them, "
        "to replace one without a pause. Unset: no API.",
    )
    api_port: ApiPortValue = setting("API_PORT", None, "Port on which the HTTP API is served, instead of WS_PORT.")
