"""A server's options: invalid ones are refused in the constructor, with helpful messages."""

import re
from typing import Any

import pytest

from synkora import RedisAdapter, SocketServer


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"origins": "https://a.com"}, TypeError, "origins is a list: origins=['https://a.com']"),
        ({"origins": [1]}, TypeError, "origins is a list of texts"),
        ({"origins": ["localhost:3000"]}, ValueError, "'localhost:3000' has no scheme: https://localhost:3000"),
        ({"origins": ["https://a.com/app"]}, ValueError, "which has a scheme, a host and a port: https://a.com"),
        ({"origins": ["https://"]}, ValueError, "'https://' is no origin"),
        ({"proxies": "10.0.0.0/8"}, TypeError, "proxies is a list: proxies=['10.0.0.0/8']"),
        ({"proxies": ["a proxy"]}, ValueError, "a proxy"),
        ({"transports": ["sse"]}, ValueError, "transports: 'sse' is not one of 'polling', 'websocket'"),
        ({"transports": "websocket"}, TypeError, "transports is a list: transports=['websocket']"),
        ({"transports": []}, ValueError, "one at least"),
        ({"path": "ws"}, ValueError, "path begins with a slash: /ws/"),
        ({"path": None}, TypeError, "path is a text, not None"),
        (
            {"ping_interval": 25000},
            ValueError,
            "ping_interval is in seconds, at most 3,600: 25,000 is too long. Are they milliseconds? Then it is "
            "ping_interval=25",
        ),
        ({"ping_timeout": 0}, ValueError, "ping_timeout is a number of seconds above 0, not 0"),
        ({"connect_timeout": float("nan")}, ValueError, "connect_timeout is a number of seconds above 0, not nan"),
        ({"upgrade_timeout": "10"}, TypeError, "upgrade_timeout is a number of seconds, not '10'"),
        ({"max_payload": 1.5}, TypeError, "max_payload is a whole number of bytes, not 1.5"),
        ({"max_outbox": -1}, ValueError, "max_outbox is a number of bytes above 0, not -1"),
        ({"compression": "yes"}, TypeError, "compression is True or False, not 'yes'"),
        ({"write_interval": "x"}, TypeError, "write_interval is a number of seconds, not 'x'"),
        ({"write_interval": 1}, ValueError, "write_interval is a number of seconds from 0 to 0.01, not 1"),
        ({"compression_threshold": "x"}, TypeError, "compression_threshold is a whole number of bytes, not 'x'"),
        ({"instance": 5}, TypeError, "instance is a text, not 5"),
        ({"cors": "*"}, TypeError, "cors is a Cors(…), and pages are named by origins, not '*'"),
        ({"connection_limiter": 5}, TypeError, "connection_limiter is a ConnectionLimiter(…), not 5"),
        ({"allow_request": "x"}, TypeError, "allow_request is a function of the handshake, not 'x'"),
        ({"adapter": "redis://h"}, TypeError, "adapter is RedisAdapter.from_url(\"redis://…\"), not 'redis://h'"),
        ({"adapter": RedisAdapter}, TypeError, 'adapter is RedisAdapter.from_url("redis://…"), not <class'),
    ],
)
def test_a_mistake_is_refused_with_a_message(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        SocketServer(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"origins": ["*", "null", "file://", "https://*.a.com", "http://localhost:*", "capacitor://localhost"]},
        {"origins": ("https://a.com/",)},
        {"transports": ("websocket",)},
        {"path": "/live"},
        {"ping_interval": 0.05, "ping_timeout": 3600},
    ],
)
def test_valid_options_are_accepted(options: dict[str, Any]) -> None:
    SocketServer(**options)
