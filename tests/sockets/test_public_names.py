"""The public names of the public classes."""

import pytest

import synkora


def public_names(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_") and hasattr(cls, name)}


def names(text: str) -> set[str]:
    return set(text.split())


SENDING = names(
    "all_rooms call compress disconnect_sockets emit everyone except_ fetch_sockets in_ local sockets_join "
    "sockets_leave to volatile"
)
REGISTERING = names(
    "declare off off_any on on_any on_any_outgoing on_connect on_disconnect on_disconnecting on_unknown once use"
)
SOCKET = names(
    "auth broadcast call compress connected data disconnect emit except_ handshake id identity in_ issued join leave "
    "namespace recovered rooms to transport volatile"
)
NAMESPACE = names(
    "before_ack before_data before_event name on_server_side refusals route server_side_call server_side_emit sockets"
)
SERVER = names("add close drain incidents lifespan namespaces of start_background_task websocket_protocol")
REMOTE = names("call data disconnect emit handshake id join leave rooms")


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (synkora.Socket, SOCKET),
        (synkora.Namespace, SENDING | REGISTERING | NAMESPACE),
        (synkora.SocketServer, SENDING - {"all_rooms"} | REGISTERING | SERVER),
        (synkora.RemoteSocket, REMOTE),
        (synkora.Broadcast, SENDING - {"all_rooms", "everyone"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_public_classes_have_public_names_alone(cls: type, expected: set[str]) -> None:
    assert public_names(cls) == expected


def test_a_servers_attributes_are_its_options() -> None:
    """Besides its settings and its ASGI application."""
    assert {name for name in vars(synkora.SocketServer()) if not name.startswith("_")} == {"asgi", "settings"}
