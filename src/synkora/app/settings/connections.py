"""Heartbeat, transports, compression, timeouts and the backlog of a connection."""

from pydantic import BaseModel, Field

from synkora.app.settings.values import (
    FlagValue,
    IntervalValue,
    OutboxSizeValue,
    PayloadSizeValue,
    ThresholdValue,
    TransportsValue,
    WriteIntervalValue,
)


class ConnectionSettings(BaseModel):
    ping_interval: IntervalValue = Field(
        default=25,
        validation_alias="WS_PING_INTERVAL",
        description="Seconds from a client's last answer to its next ping.",
    )
    ping_timeout: IntervalValue = Field(
        default=60,
        validation_alias="WS_PING_TIMEOUT",
        description="Seconds that a client has to answer a ping; then the server disconnects the client.",
    )
    transports: TransportsValue = Field(
        default=("polling", "websocket"),
        validation_alias="WS_TRANSPORTS",
        description="Transports that clients may use, comma-separated.",
    )
    max_payload: PayloadSizeValue = Field(
        default=1_000_000,
        validation_alias="WS_MAX_PAYLOAD",
        description="Bytes of the largest message that a client may send, its attachments included.",
    )
    compression: FlagValue = Field(
        default=False,
        validation_alias="WS_COMPRESSION",
        description="Compress messages for clients that support it: less traffic for more CPU time.",
    )
    compression_threshold: ThresholdValue = Field(
        default=1024,
        validation_alias="WS_COMPRESSION_THRESHOLD",
        description="Smallest message, in bytes, that the server compresses.",
    )
    write_interval: WriteIntervalValue = Field(
        default=0,
        validation_alias="WS_WRITE_INTERVAL",
        description="Seconds between two writes, at least. With 0.001, a busy server reads and writes more at once: "
        "less CPU time, and a millisecond more of latency. 0 writes at once.",
    )
    connect_timeout: IntervalValue = Field(
        default=45,
        validation_alias="WS_CONNECT_TIMEOUT",
        description="Seconds that a new connection has to join a namespace; then the server closes the connection.",
    )
    upgrade_timeout: IntervalValue = Field(
        default=10,
        validation_alias="WS_UPGRADE_TIMEOUT",
        description="Seconds that a client has to complete its upgrade from polling to WebSocket. A CONNECT without "
        "a token waits so long for the cookie of the upgrade.",
    )
    keep_alive: IntervalValue = Field(
        default=65,
        validation_alias="WS_KEEP_ALIVE",
        description="Seconds that an HTTP connection stays open after a request. A load balancer must close its idle "
        "connections earlier (Google's: after 600 s).",
    )
    max_outbox: OutboxSizeValue = Field(
        default=4_000_000,
        validation_alias="WS_MAX_OUTBOX",
        description="Bytes that may wait for a slow consumer; beyond this limit the server disconnects the client. "
        "Not less than WS_MAX_PAYLOAD.",
    )
