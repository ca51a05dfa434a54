"""The library's log: standard logging, with an event and fields."""

import logging

import pytest

from synkora.engine.logs import Entry, Log, fault

NAME = "synkora.of_a_test"


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_an_entry_is_a_record_of_its_module(caplog: pytest.LogCaptureFixture, level: str) -> None:
    """The record has the level, the logger and the caller's place. Event and fields are in the message."""
    with caplog.at_level(logging.INFO, NAME):
        getattr(Log(NAME), level)("redis_up", address="127.0.0.1:6379")
    (record,) = caplog.records
    assert (record.name, record.levelname, record.filename) == (NAME, level.upper(), "test_logs.py")
    assert isinstance(record.msg, Entry)
    assert (record.msg.event, record.msg.fields) == ("redis_up", {"address": "127.0.0.1:6379"})
    assert record.getMessage() == "redis_up address='127.0.0.1:6379'"


def test_a_fault_is_the_errors_traceback_without_variables(caplog: pytest.LogCaptureFixture) -> None:
    """A token in a variable is in no record, and a client's text cannot forge a line."""
    try:
        token = "secret-token"
        raise ValueError(len(token))
    except ValueError as error:
        Log(NAME).error("handler_failed", eventName="a\nb", **fault(error))
    (record,) = caplog.records
    assert record.exc_info is None
    text = record.getMessage()
    assert text.startswith(r"handler_failed eventName='a\nb' errorType='ValueError'" + "\nTraceback (most recent call")
    assert text.endswith("ValueError: 12")
    assert "secret-token" not in text.replace('token = "secret-token"', "")
