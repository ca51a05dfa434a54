"""What is kept for clients that lose their connection, and how long they stay in the lists of members."""

from pydantic import BaseModel

from synkora.app.settings.values import (
    AwayValue,
    FlagValue,
    FolderValue,
    GracePeriodValue,
    KeptCountValue,
    KeptSizeValue,
    setting,
)


class RecoverySettings(BaseModel):
    recovery: FlagValue = setting(
        "RECOVERY",
        True,
        "Give clients that return after a lost connection their projects back, and the events that they missed.",
    )
    recovery_max_away: AwayValue = setting(
        "RECOVERY_MAX_AWAY", 7200, "Seconds that a lost client may be away; later the client is a new one."
    )
    recovery_log_age: AwayValue = setting(
        "RECOVERY_LOG_AGE",
        7200,
        "Seconds for which the events of a project are kept. A user may edit 500 projects in this time.",
    )
    recovery_log_events: KeptCountValue = setting("RECOVERY_LOG_EVENTS", 10_000, "Events of a project that are kept.")
    recovery_log_bytes: KeptSizeValue = setting(
        "RECOVERY_LOG_BYTES", 4_000_000, "Bytes of a project's events that are kept."
    )
    recovery_total_bytes: KeptSizeValue = setting(
        "RECOVERY_TOTAL_BYTES", 64_000_000, "Bytes of the events of all projects that are kept."
    )
    state_dir: FolderValue = setting(
        "STATE_DIR",
        None,
        "Folder in which the missed events and the lost clients outlive a restart, of this instance alone; the server "
        "makes it. Unset: they are kept in memory. With REDIS_URL or several workers, Redis keeps them.",
    )
    presence_grace: GracePeriodValue = setting(
        "PRESENCE_GRACE",
        5,
        "Seconds for which a lost connection stays in the lists of its projects: nobody sees a client that returns "
        "within this time leave. 0: it leaves at once. Only with RECOVERY.",
    )
