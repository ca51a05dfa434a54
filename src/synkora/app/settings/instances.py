"""Several workers on one port, and several instances over Redis."""

from pydantic import BaseModel

from synkora.app.settings.values import AdvertiseValue, NameValue, PrefixValue, RedisValue, WorkersValue, setting


class InstanceSettings(BaseModel):
    workers: WorkersValue = setting(
        "WS_WORKERS",
        1,
        "Processes that share the port and act as one server; auto: one for each core. Without REDIS_URL, more than "
        "one need redis-server or valkey-server in PATH.",
    )
    redis_url: RedisValue = setting(
        "REDIS_URL",
        None,
        "The Redis that joins this instance with others, such as redis://:password@host; rediss:// is with TLS, "
        "unix:///path a Unix socket, redis+sentinel://host:26379/mymaster a master that Sentinels watch, and "
        "redis+cluster://host a Redis Cluster. Unset: a single server.",
    )
    redis_prefix: PrefixValue = setting(
        "REDIS_PREFIX",
        "socket.io",
        "Prefix of the channels in Redis, the key of Node.js' adapter. Deployments that share a Redis need different "
        "prefixes.",
    )
    instance: NameValue = setting(
        "WS_INSTANCE",
        "",
        "Name of this instance: its session ids begin with the name and a dot, so that a proxy can route by the name.",
    )
    advertise: AdvertiseValue = setting(
        "WS_ADVERTISE",
        "",
        "Host and port at which the other instances reach this one, or a URL of these. Unset: the address of WS_HOST, "
        "or of this machine in its network, and WS_PORT.",
    )
