"""The service's errors and the end of a connection, with what to do about them."""

from __future__ import annotations

import pytest

from qwen_realtime.errors import ConnectionClosed, ProtocolError, ProtocolViolation
from qwen_realtime.events import CloseInfo, Error, ErrorDetail
from qwen_realtime.hints import closed_error, server_error


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("Error committing input audio buffer: buffer too small, or have no audio.", "before commit"),
        ("Internal service error: null", "turn_detection=None"),
        ("Error append image before append audio.", "append_audio"),
        ("Conversation has none active response", "cancel_response"),
        ("Session update error: session already started or finished or failed.", "before the first input"),
        ("only client commit mode supports clear operation", "mode='commit'"),
        ("Illegal base64 character d", "raw bytes"),
        ("Requests rate limit exceeded, please try again later.", "wait"),
        ("<400> InternalError.Algo.InvalidParameter: Voice 'Cherry' is not supported.", "voice of this model"),
        ("Response timeout.", ""),
    ],
)
def test_observed_errors_have_a_remedy(message: str, hint: str) -> None:
    """Texts from the protocol reference."""
    error = server_error(Error(error=ErrorDetail(message=message)))
    assert error.message == message
    assert hint in error.hint
    assert bool(error.hint) is bool(hint)


def test_the_field_at_fault_is_a_hint_where_there_is_no_better_one() -> None:
    """And all that the server said is kept."""
    detail = ErrorDetail(type="t", code="c", message="m", param="session.voice", event_id="e")
    error = server_error(Error(error=detail))
    assert (error.type, error.code, error.param, error.event_id) == ("t", "c", "session.voice", "e")
    assert str(error) == "m (see session.voice)"


def test_an_empty_error_is_an_error() -> None:
    """Absent and null fields are empty."""
    for detail in (ErrorDetail(), ErrorDetail(message=None, code=None, param=None, type=None, event_id=None)):
        error = server_error(Error(error=detail))
        assert str(error) == "an error without a message"
        assert (error.type, error.code, error.param, error.event_id) == ("", "", "", "")


def test_an_end_tells_who_closed_why_and_the_first_cause() -> None:
    """A message that cannot be is told as such; what has an error of its own needs no further advice."""
    error = closed_error(CloseInfo(code=1011, reason="overloaded", by="server"))
    assert type(error) is ConnectionClosed
    assert (error.code, error.reason, error.by) == (1011, "overloaded", "server")
    assert str(error) == (
        "the connection was closed by the server: 1011 overloaded (a closed client is not reopened: make a new one)"
    )
    cause = ProtocolError("not JSON")
    error = closed_error(CloseInfo(code=1002, reason="not JSON", by="client", error=cause))
    assert type(error) is ProtocolViolation
    assert error.__cause__ is cause
    assert error.hint == ""
