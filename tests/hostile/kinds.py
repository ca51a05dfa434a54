"""Every kind of hostility by its name: the public functions of these modules."""

import inspect
import os
from collections.abc import Mapping
from types import MappingProxyType

from tests.hostile import by_events, by_http, by_packets, by_sign_in, by_websocket
from tests.hostile.attacker import Attack

KINDS: Mapping[str, Attack] = MappingProxyType(
    {
        name: attack
        for module in (by_http, by_websocket, by_packets, by_sign_in, by_events)
        for name, attack in vars(module).items()
        if inspect.iscoroutinefunction(attack) and attack.__module__ == module.__name__ and not name.startswith("_")
    }
)

#: The kinds of a run: those that HOSTILE_KINDS names, with commas; by default, all.
CHOSEN = os.environ.get("HOSTILE_KINDS", ",".join(KINDS)).split(",")
