"""The catalogue of relayed events: payloads and deliveries."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collaboration.site import every_event

from synkora.collaboration.events import CATALOGUE, MAX_PROJECT_ID, Codec, Event, Sender, check_project_id
from synkora.protocol.errors import ProtocolError
from synkora.protocol.json import encode
from synkora.sockets.errors import EventRefused

SENDER = Sender(socketId="s0cket", userId="user-1", userName="Алиса")

#: The contract: the payload's fields, and the delivery. Odd spacing shows that values are relayed unchanged.
ROWS: dict[str, tuple[str, str]] = {
    "task:create": ('"task": {"id" : 1}', '{"id" : 1}'),
    "task:update": ('"task": {"id" : 1}', '{"id" : 1}'),
    "task:delete": ('"taskId": "t1"', '{"taskId":"t1"}'),
    "task:move": ('"taskId": "t1", "status": "DONE"', '{"taskId":"t1","status":"DONE"}'),
    "canvas:update": ('"changes": [1.50, {} ]', "[1.50, {} ]"),
    "canvas:cursor": ('"position": {"x": 1e2}', '{"socketId":"s0cket","position":{"x": 1e2}}'),
    "markdown:update": ('"fileId": "f", "content": "a\\u0062"', '{"fileId":"f","content":"a\\u0062"}'),
    "markdown:cursor": ('"fileId": "f", "position": 3', '{"socketId":"s0cket","fileId":"f","position":3}'),
    "spreadsheet:cell-update": ('"cell": "A1", "value": -0', '{"cell":"A1","value":-0}'),
    "spreadsheet:batch-update": ('"cells": [{"cell" : "A1"}]', '{"cells":[{"cell" : "A1"}]}'),
    "spreadsheet:selection": ('"selection": null', '{"socketId":"s0cket","selection":null}'),
    "typing:start": (
        '"context": "canvas", "timestamp": "2026-01-02T03:04:05.678Z"',
        '{"socketId":"s0cket","userId":"user-1","userName":"Алиса","context":"canvas","timestamp":"2026-01-02T03:04:05.678Z"}',
    ),
    "typing:stop": ('"context": "canvas"', '{"socketId":"s0cket","userId":"user-1","context":"canvas"}'),
}


def relayed(event: Event, fields: str, *, behind: str = "") -> str:
    """The delivery, as JSON, of an event with these fields in its payload."""
    codec = Codec(event)
    payload = codec.decode(f'["{event.name}", {{"projectId": "p1"{fields and ", "}{fields}}}{behind}]'.encode())
    assert payload.projectId == "p1"
    return encode(codec.deliver(payload, SENDER)).decode()


def refusal(event: Event, data: str) -> str:
    """The message that refuses the event's JSON array."""
    with pytest.raises(EventRefused) as refused:
        Codec(event).decode(data.encode())
    return str(refused.value)


def test_the_catalogue_is_the_contracts() -> None:
    """Each relayed event of the contract, once."""
    assert [event.name for event in CATALOGUE] == list(ROWS)


@every_event
def test_an_event_is_delivered_as_the_contract_says(event: Event) -> None:
    """Byte for byte: first the fields about the sender, then the app's fields unchanged."""
    fields, delivery = ROWS[event.name]
    assert relayed(event, fields) == delivery


@every_event
def test_further_fields_and_arguments_are_ignored(event: Event) -> None:
    fields, delivery = ROWS[event.name]
    assert relayed(event, f'"socketId": "forged", {fields}, "userId": [[]]', behind=', "more", {}') == delivery


@every_event
def test_a_missing_value_is_null_or_omitted(event: Event) -> None:
    """Null as the whole delivery, omitted as a field."""
    sender = {"socketId": SENDER.socketId, "userId": SENDER.userId, "userName": SENDER.userName}
    expected: Any = None if event.whole else {name: sender[name] for name in event.sender}
    assert json.loads(relayed(event, "")) == expected


@every_event
def test_null_stays_null(event: Event) -> None:
    names = (event.whole,) if event.whole else event.fields
    delivery = json.loads(relayed(event, ", ".join(f'"{name}": null' for name in names)))
    assert delivery is None if event.whole else all(delivery[name] is None for name in names)


SPACE = st.sampled_from(["", " ", "\t", "\r\n "])
ESCAPES = ["\\/", "\\u0041", "\\n", "\\ud83d\\ude00", "\\u0000", '\\"', "\\\\"]
CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters='"\\')
STRINGS = st.lists(st.one_of(CHARACTERS, st.sampled_from(ESCAPES)), max_size=8).map(lambda c: f'"{"".join(c)}"')
NUMBERS = st.from_regex(
    r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,4})?", fullmatch=True, alphabet="-+.eE0123456789"
)
JSON = st.recursive(
    st.one_of(st.sampled_from(["null", "true", "false", "{}", "[ ]"]), STRINGS, NUMBERS),
    lambda values: st.one_of(
        st.builds(
            lambda items, space: f"[{space}{f'{space},'.join(items)}{space}]",
            st.lists(values, min_size=1, max_size=4),
            SPACE,
        ),
        st.builds(
            lambda items, space: "{" + f",{space}".join(f"{key}{space}:{space}{value}" for key, value in items) + "}",
            st.lists(st.tuples(STRINGS, values), min_size=1, max_size=4),
            SPACE,
        ),
    ),
    max_leaves=12,
)


@given(value=JSON, event=st.sampled_from(CATALOGUE))
def test_any_json_is_relayed_as_the_same_bytes(value: str, event: Event) -> None:
    """Numbers, escapes, spaces, key order and duplicate keys stay unchanged."""
    delivery = relayed(event, f'"{event.whole or event.fields[-1]}": {value}')
    assert delivery == value if event.whole else delivery.endswith(f":{value}}}")


@every_event
def test_a_lone_surrogate_is_relayed_unchanged(event: Event) -> None:
    """JavaScript can send half a character as an escape. The others get the same escape."""
    assert relayed(event, r'"other": "\ud800"') == relayed(event, '"other": 1')
    name = event.whole or event.fields[-1]
    assert '"a\\ud800 \\ud83d\\ude00"' in relayed(event, f'"{name}": "a\\ud800 \\ud83d\\ude00"')


@pytest.mark.parametrize("payload", ["", ", null", ', "p1"', ", 7", ", true", ', ["p1"]', ", []"])
@every_event
def test_a_payload_that_is_no_object_is_refused(event: Event, payload: str) -> None:
    """The message names the event and the required type."""
    assert refusal(event, f'["{event.name}"{payload}]') == f"{event.name} needs an object with a projectId"


@pytest.mark.parametrize(
    "field",
    ["", '"projectId": null', '"projectId": ""', '"projectId": 7', '"projectId": {"$ne": null}', '"projectId": ["p"]'],
)
@every_event
def test_a_project_id_is_required(event: Event, field: str) -> None:
    """A missing or empty id, or one that is no string, is refused with the app's message."""
    assert refusal(event, f'["{event.name}", {{{field}}}]') == "Project ID is required"


@every_event
def test_data_nested_too_deeply_is_refused(event: Event) -> None:
    """Ten thousand nested arrays in any place get an answer."""
    nested = "[" * 10_000 + "]" * 10_000
    for name in (event.whole or event.fields[-1], "further"):
        text = f'["{event.name}", {{"projectId": "p", "{name}": {nested}}}]'
        assert refusal(event, text) == f"{event.name} needs less deeply nested data"


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "01", "'a'", "{a: 1}", "[1,]", "undefined", "0x10", "", '"\\x"', '"\n"', "\x00"]
)
@every_event
def test_invalid_json_is_a_protocol_error(event: Event, value: str) -> None:
    """It is not relayed, even within the app's own data."""
    name = event.whole or event.fields[-1]
    with pytest.raises(ProtocolError):
        relayed(event, f'"{name}": {value}')


@pytest.mark.parametrize("value", [None, "", 0, True, b"p", ["p"], {"projectId": "p"}])
def test_a_project_id_is_a_string_with_something_in_it(value: object) -> None:
    with pytest.raises(EventRefused, match=r"\AProject ID is required\Z"):
        check_project_id(value)


def test_the_longest_project_id() -> None:
    """200 characters of any kind are accepted, and 201 are refused."""
    for project_id in ("é" * MAX_PROJECT_ID, "🚀" * MAX_PROJECT_ID, "a b/c,d\n\0", "__proto__"):
        assert check_project_id(project_id) == project_id
    with pytest.raises(EventRefused, match=r"\AProject ID is longer than 200 characters\Z"):
        check_project_id("é" * (MAX_PROJECT_ID + 1))


def test_only_events_that_the_next_one_replaces_are_volatile() -> None:
    """Cursors, selections and typing may be dropped for a slow client. Edits may not."""
    volatile = {event.name for event in CATALOGUE if event.volatile}
    assert volatile == {
        *("canvas:cursor", "markdown:cursor", "spreadsheet:selection"),
        *("typing:start", "typing:stop"),
    }


def test_updates_with_very_many_fields_leave_nothing_in_memory() -> None:
    """A cache would keep their names. The key tells their fields apart, as with few."""
    codec = Codec(next(event for event in CATALOGUE if event.name == "task:update"))

    def key(number: int) -> str | None:
        fields = ",".join(f'"{number:x}-{field:x}":1' for field in range(900))
        return codec.key(codec.decode(f'["task:update",{{"projectId":"p","task":{{"id":1,{fields}}}}}]'.encode()))

    key(0)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        keys = [key(number) for number in range(64)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
    assert len(set(keys)) == 64
    assert keys[63] is not None
    assert key(63) == keys[63]


@pytest.mark.parametrize(
    "names",
    [
        ("title\0status",),
        ("title, status",),
        ("title', 'status",),
        ("title", "kzqambai"),  # with the same CRC-32
    ],
)
def test_no_other_names_of_fields_give_the_key_of_an_update(names: tuple[str, ...]) -> None:
    """An update that changes nothing would take the place of another's, which clients that return would miss."""
    codec = Codec(next(event for event in CATALOGUE if event.name == "task:update"))

    def key(*names: str) -> str | None:
        task = {"id": "task_1"} | dict.fromkeys(names, "x")
        return codec.key(codec.decode(encode(["task:update", {"projectId": "p", "task": task}])))

    assert key("title", "status") == key("title", "status") != key(*names)
    assert key("title", "status") != key("status", "title")


@pytest.mark.parametrize(
    ("fields", "has_key"),
    [
        ({"title": "Größe 😀"}, True),
        ({f"field {number}": number for number in range(900)}, True),
        ({f"field {number}": number for number in range(1100)}, False),
        ({"title": "\ud800"}, False),
        ({"\ud800": 1}, False),
    ],
)
def test_an_update_of_very_many_fields_or_with_halves_has_no_key(fields: dict[str, object], has_key: bool) -> None:
    """To look for the key would take milliseconds."""
    codec = Codec(next(event for event in CATALOGUE if event.name == "task:update"))
    data = json.dumps(["task:update", {"projectId": "p", "task": {"id": "task_1"} | fields}])
    assert (codec.key(codec.decode(data.encode())) is not None) == has_key
