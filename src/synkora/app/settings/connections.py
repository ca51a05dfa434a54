"""Heartbeat, transports, compression, timeouts and the backlog of a connection."""

from pydantic import BaseModel

from synkora.app.settings.values import (
    FlagValue,
    IntervalValue,
    OutboxSizeValue,
    PayloadSizeValue,
    ThresholdValue,
    TransportsValue,
    WriteIntervalValue,
    setting,
)


class ConnectionSettings(BaseModel):
    ping_interval: IntervalValue = setting(
        "WS_PING_INTERVAL", 25, "Seconds from a client's last answer to its next ping."
    )
    ping_timeout: IntervalValue = setting(
        "WS_PING_TIMEOUT", 60, "Seconds that a client has to answer a ping; then the server disconnects the client."
    )
    transports: TransportsValue = setting(
        "WS_TRANSPORTS", ("polling", "websocket"), "Transports that clients may use, comma-separated."
    )
    max_payload: PayloadSizeValue = setting(
        "WS_MAX_PAYLOAD", 1_000_000, "Bytes of the largest message that a client may send, its attachments included."
    )
    compression: FlagValue = setting(
        "WS_COMPRESSION", False, "Compress messages for clients that support it: less traffic for more CPU time."
    )
    compression_threshold: ThresholdValue = setting(
        "WS_COMPRESSION_THRESHOLD", 1024, "Smallest message, in bytes, that the server compresses."
    )
    write_interval: WriteIntervalValue = setting(
        "WS_WRITE_INTERVAL",
        0.001,
        "Seconds between two writes, at least: a busy server reads and writes more at once, which takes less CPU time "
        "and delays messages by up to as long. An idle server never waits. 0 writes at once.",
    )
    connect_timeout: IntervalValue = setting(
        "WS_CONNECT_TIMEOUT",
        45,
        "Seconds that a new connection has to join a namespace; then the server closes the connection.",
    )
    upgrade_timeout: IntervalValue = setting(
        "WS_UPGRADE_TIMEOUT",
        10,
        "Seconds that a client has to complete its upgrade from polling to WebSocket. A CONNECT without a token waits "
        "so long for the cookie of the upgrade.",
    )
    keep_alive: IntervalValue = setting(
        "WS_KEEP_ALIVE",
        65,
        "Seconds that an HTTP connection stays open after a request. A load balancer must close its idle connections "
        "earlier (Google's: after 600 s).",
    )
    max_outbox: OutboxSizeValue = setting(
        "WS_MAX_OUTBOX",
        4_000_000,
        "Bytes that may wait for a slow consumer, in at most one message for each 400 of them; beyond this limit the "
        "server disconnects the client. Not less than WS_MAX_PAYLOAD.",
    )
