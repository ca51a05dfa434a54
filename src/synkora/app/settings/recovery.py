"""What is kept for clients that lose their connection."""

from pydantic import BaseModel, Field

from synkora.app.settings.values import (
    AwayValue,
    FlagValue,
    FolderValue,
    GracePeriodValue,
    KeptCountValue,
    KeptSizeValue,
)


class RecoverySettings(BaseModel):
    recovery: FlagValue = Field(
        default=True,
        validation_alias="RECOVERY",
        description="Give clients that return after a lost connection their projects back, and the events that they "
        "missed.",
    )
    recovery_max_away: AwayValue = Field(
        default=7200,
        validation_alias="RECOVERY_MAX_AWAY",
        description="Seconds that a lost client may be away; later the client is a new one.",
    )
    recovery_log_age: AwayValue = Field(
        default=7200,
        validation_alias="RECOVERY_LOG_AGE",
        description="Seconds for which the events of a project are kept.",
    )
    recovery_log_events: KeptCountValue = Field(
        default=10_000,
        validation_alias="RECOVERY_LOG_EVENTS",
        description="Events of a project that are kept.",
    )
    recovery_log_bytes: KeptSizeValue = Field(
        default=4_000_000,
        validation_alias="RECOVERY_LOG_BYTES",
        description="Bytes of a project's events that are kept.",
    )
    recovery_total_bytes: KeptSizeValue = Field(
        default=64_000_000,
        validation_alias="RECOVERY_TOTAL_BYTES",
        description="Bytes of the events of all projects that are kept.",
    )
    state_dir: FolderValue = Field(
        default=None,
        validation_alias="STATE_DIR",
        description="Folder in which the missed events and the lost clients outlive a restart, of this instance alone; "
        "the server makes it. Unset: they are kept in memory. With REDIS_URL or several workers, Redis keeps them.",
    )
    presence_grace: GracePeriodValue = Field(
        default=5,
        validation_alias="PRESENCE_GRACE",
        description="Seconds for which a lost connection stays in the lists of its projects: nobody sees a client "
        "that returns within this time leave. 0: it leaves at once. Only with RECOVERY.",
    )
