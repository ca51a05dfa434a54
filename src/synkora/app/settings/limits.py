"""Limits per connection, user, address and server."""

from pydantic import BaseModel

from synkora.app.settings.values import ByteRateValue, CountValue, RateValue, setting


class LimitSettings(BaseModel):
    limit_volatile_rate: RateValue = setting(
        "LIMIT_VOLATILE_RATE",
        100,
        "Cursors, selections and typing events of one connection a second; burst: three seconds' worth.",
    )
    limit_edit_rate: RateValue = setting(
        "LIMIT_EDIT_RATE", 100, "Edits of one connection a second; burst: three seconds' worth."
    )
    limit_other_rate: RateValue = setting(
        "LIMIT_OTHER_RATE",
        20,
        "Joins, leaves and other events of one connection a second; burst: three seconds' worth.",
    )
    limit_byte_rate: ByteRateValue = setting(
        "LIMIT_BYTE_RATE", 1_000_000, "Bytes of events of one connection a second; burst: three seconds' worth."
    )
    limit_user_byte_rate: ByteRateValue = setting(
        "LIMIT_USER_BYTE_RATE",
        200_000_000,
        "Bytes a second that the server sends to others for one user, over all the user's connections; a delivery "
        "counts as 3,000 more, an event as 8,000, a join as 200,000, with WEBHOOK_URL as 1,000,000.",
    )
    limit_projects: CountValue = setting("LIMIT_PROJECTS", 50, "Projects that one connection may be in.")
    limit_connections_per_user: CountValue = setting("LIMIT_CONNECTIONS_PER_USER", 200, "Connections of one user.")
    limit_connections_per_address: CountValue = setting(
        "LIMIT_CONNECTIONS_PER_ADDRESS",
        10_000,
        "Connections of one address (of one /64 network for IPv6); behind a proxy, set TRUSTED_PROXIES.",
    )
    limit_handshakes_per_address: RateValue = setting(
        "LIMIT_HANDSHAKES_PER_ADDRESS", 1000, "New connections of one address a second; burst: ten seconds' worth."
    )
    limit_failed_sign_ins: CountValue = setting(
        "LIMIT_FAILED_SIGN_INS",
        20,
        "Refused sign-ins of one address within a minute; beyond this number each refusal takes longer.",
    )
    limit_api_rate: RateValue = setting(
        "LIMIT_API_RATE", 100, "Requests to the HTTP API a second; burst: two seconds' worth."
    )
    limit_clients: CountValue = setting("LIMIT_CLIENTS", 50_000, "All clients of this server, on all its workers.")
