"""The tree of errors."""

from __future__ import annotations

import qwen_realtime
from qwen_realtime import errors


def test_every_error_is_a_realtime_error_and_public() -> None:
    """One ``except`` catches all, and each has its name at the top level."""
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert len(classes) > 12
    for cls in classes:
        assert issubclass(cls, errors.RealtimeError)
        assert getattr(qwen_realtime, cls.__name__) is cls


def test_errors_are_what_python_calls_them() -> None:
    """Code that catches the standard library's errors catches ours."""
    assert issubclass(errors.ConfigError, ValueError)
    assert issubclass(errors.ConnectError, ConnectionError)
    assert issubclass(errors.ConnectTimeout, TimeoutError)
    assert issubclass(errors.ConnectionClosed, ConnectionError)
    assert issubclass(errors.WaitTimeout, TimeoutError)
    assert issubclass(errors.WouldDeadlock, RuntimeError)
    assert issubclass(errors.AudioUnavailable, ImportError)


def test_the_hint_is_part_of_the_text() -> None:
    """What to do is read together with what is wrong."""
    assert str(errors.RealtimeError("it broke", hint="mend it")) == "it broke (mend it)"
    assert str(errors.RealtimeError("it broke")) == "it broke"


def test_the_tree_in_the_docstring_names_every_error() -> None:
    """The drawing and the code agree."""
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            assert name in (errors.__doc__ or "")
