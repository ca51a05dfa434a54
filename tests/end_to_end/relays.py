"""Every event of the app: what a member sends, and what the others in the project get."""

from typing import Any, NamedTuple

from tests.support.users import ALICE

TASK = {
    "id": "t1",
    "title": "Ünïcode 🚀 \u2028 </script>",
    "done": False,
    "tags": ["a", None, 1.5],
    "more": {"n": -0.25},
}
POSITION = {"x": 10.5, "y": -3}
SENDER = {"socketId": ..., "userId": ALICE.id, "userName": ALICE.name}


class Row(NamedTuple):
    """An event that Alice sends with `sent` and the project's id, and Bob's delivery."""

    event: str
    sent: dict[str, Any]
    got: Any
    got_of_nothing: Any  # if Alice sends only the project's id

    def __str__(self) -> str:
        return self.event


def of_sender(*names: str) -> dict[str, Any]:
    return {name: SENDER[name] for name in names}


ROWS = (
    Row("task:create", {"task": TASK}, TASK, None),
    Row("task:update", {"task": TASK}, TASK, None),
    Row("task:delete", {"taskId": "t1"}, {"taskId": "t1"}, {}),
    Row("task:move", {"taskId": "t1", "status": "DONE"}, {"taskId": "t1", "status": "DONE"}, {}),
    Row("canvas:update", {"changes": [{"added": {}}, [1, 2]]}, [{"added": {}}, [1, 2]], None),
    Row(
        "canvas:cursor",
        {"position": POSITION},
        {**of_sender("socketId"), "position": POSITION},
        of_sender("socketId"),
    ),
    Row("markdown:update", {"fileId": "f1", "content": "# Hi\n"}, {"fileId": "f1", "content": "# Hi\n"}, {}),
    Row(
        "markdown:cursor",
        {"fileId": "f1", "position": 42},
        {**of_sender("socketId"), "fileId": "f1", "position": 42},
        of_sender("socketId"),
    ),
    Row("spreadsheet:cell-update", {"cell": "B7", "value": "=A1"}, {"cell": "B7", "value": "=A1"}, {}),
    Row("spreadsheet:batch-update", {"cells": [{"cell": "A1"}]}, {"cells": [{"cell": "A1"}]}, {}),
    Row(
        "spreadsheet:selection",
        {"selection": {"from": "A1", "to": "B7"}},
        {**of_sender("socketId"), "selection": {"from": "A1", "to": "B7"}},
        of_sender("socketId"),
    ),
    Row(
        "typing:start",
        {"context": "task:t1", "timestamp": 1795393531000},
        {**of_sender("socketId", "userId", "userName"), "context": "task:t1", "timestamp": 1795393531000},
        of_sender("socketId", "userId", "userName"),
    ),
    Row(
        "typing:stop",
        {"context": "task:t1"},
        {**of_sender("socketId", "userId"), "context": "task:t1"},
        of_sender("socketId", "userId"),
    ),
)
VOLATILE = ("canvas:cursor", "markdown:cursor", "spreadsheet:selection", "typing:start", "typing:stop")
