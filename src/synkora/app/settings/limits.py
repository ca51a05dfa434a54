"""Limits per connection, user, address and server."""

from pydantic import BaseModel, Field

from synkora.app.settings.values import ByteRateValue, CountValue, RateValue


class LimitSettings(BaseModel):
    limit_volatile_rate: RateValue = Field(
        default=100,
        validation_alias="LIMIT_VOLATILE_RATE",
        description="Cursors, selections and typing events of one connection a second; burst: three seconds' worth.",
    )
    limit_edit_rate: RateValue = Field(
        default=100,
        validation_alias="LIMIT_EDIT_RATE",
        description="Edits of one connection a second; burst: three seconds' worth.",
    )
    limit_other_rate: RateValue = Field(
        default=20,
        validation_alias="LIMIT_OTHER_RATE",
        description="Joins, leaves and other events of one connection a second; burst: three seconds' worth.",
    )
    limit_byte_rate: ByteRateValue = Field(
        default=1_000_000,
        validation_alias="LIMIT_BYTE_RATE",
        description="Bytes of events of one connection a second; burst: three seconds' worth.",
    )
    limit_user_byte_rate: ByteRateValue = Field(
        default=200_000_000,
        validation_alias="LIMIT_USER_BYTE_RATE",
        description="Bytes a second that the server sends to others for one user, over all the user's connections; a "
        "delivery counts as 3,000 more, an event as 8,000, a join as 200,000, with WEBHOOK_URL as "
        "1,000,000.",
    )
    limit_projects: CountValue = Field(
        default=50,
        validation_alias="LIMIT_PROJECTS",
        description="Projects that one connection may be in.",
    )
    limit_connections_per_user: CountValue = Field(
        default=1000,
        validation_alias="LIMIT_CONNECTIONS_PER_USER",
        description="Connections of one user.",
    )
    limit_connections_per_address: CountValue = Field(
        default=10_000,
        validation_alias="LIMIT_CONNECTIONS_PER_ADDRESS",
        description="Connections of one address (of one /64 network for IPv6); behind a proxy, set TRUSTED_PROXIES.",
    )
    limit_handshakes_per_address: RateValue = Field(
        default=1000,
        validation_alias="LIMIT_HANDSHAKES_PER_ADDRESS",
        description="New connections of one address a second; burst: ten seconds' worth.",
    )
    limit_failed_sign_ins: CountValue = Field(
        default=20,
        validation_alias="LIMIT_FAILED_SIGN_INS",
        description="Refused sign-ins of one address within a minute; beyond this number each refusal takes longer.",
    )
    limit_api_rate: RateValue = Field(
        default=100,
        validation_alias="LIMIT_API_RATE",
        description="Requests to the HTTP API a second; burst: two seconds' worth.",
    )
    limit_clients: CountValue = Field(
        default=50_000,
        validation_alias="LIMIT_CLIENTS",
        description="All clients of this server, on all its workers.",
    )
