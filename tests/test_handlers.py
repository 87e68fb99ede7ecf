"""The registry of handlers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from qwen_realtime import events
from qwen_realtime.errors import ConfigError
from qwen_realtime.handlers import Handlers
from qwen_realtime.notices import RealtimeWarning

CREATED = events.SessionCreated()
DELTA = events.ResponseTextDelta(delta="a")
STRANGE = events.UnknownEvent(message={"type": "response.video.delta"})


def _names(handlers: Handlers, event: events.Event) -> list[str]:
    return [entry.handler(None) for entry in handlers.of(event)]  # type: ignore[misc]


def _named(name: str) -> Any:
    return lambda _: name


def test_handlers_are_found_in_the_order_of_registration() -> None:
    """Whether by class, base class, wire type or ``"*"``."""
    handlers = Handlers()
    for key in ("*", events.ResponseTextDelta, "response.text.delta", events.ResponseEvent, events.Event):
        handlers.add(key, _named(str(key)))
    handlers.add("session.created", _named("other"))
    assert _names(handlers, DELTA) == [
        "*",
        str(events.ResponseTextDelta),
        "response.text.delta",
        str(events.ResponseEvent),
        str(events.Event),
    ]
    assert _names(handlers, CREATED) == ["*", str(events.Event), "other"]


def test_a_handler_added_later_is_found_too() -> None:
    """What was looked up before is not remembered wrongly."""
    handlers = Handlers()
    assert handlers.of(DELTA) == ()
    handlers.add("response.text.delta", _named("late"))
    assert _names(handlers, DELTA) == ["late"]


def test_connection_events_have_names() -> None:
    """``"disconnected"`` is registered for like any other."""
    handlers = Handlers()
    handlers.add("disconnected", _named("gone"))
    assert _names(handlers, events.Disconnected(info=events.CloseInfo())) == ["gone"]


def test_unknown_types_have_handlers_by_name_and_by_class() -> None:
    """A type that no class declares can be asked for all the same."""
    handlers = Handlers()
    handlers.add("response.video.delta", _named("by name"))
    handlers.add(events.UnknownEvent, _named("by class"))
    handlers.add("*", _named("all"))
    assert _names(handlers, STRANGE) == ["by name", "by class", "all"]
    assert _names(handlers, events.UnknownEvent(message={"type": "other"})) == ["by class", "all"]


def test_an_unheard_of_name_passes_without_a_warning() -> None:
    """The service may add it tomorrow."""
    handlers = Handlers()
    handlers.add("mcp_list_tools.completed", _named("mcp"))
    assert _names(handlers, events.UnknownEvent(message={"type": "mcp_list_tools.completed"})) == ["mcp"]


def test_a_typo_warns_with_the_right_name() -> None:
    """It is registered all the same."""
    with pytest.warns(RealtimeWarning, match="did you mean 'response.audio.delta'"):
        Handlers().add("response.audio.detla", print)


@pytest.mark.parametrize(
    "key", ["input_text_buffer.append", events.SessionUpdate, events.ClientEvent, object, int, 7, None]
)
def test_what_can_never_come_is_refused(key: Any) -> None:
    """Client events and what is no event."""
    with pytest.raises(ConfigError):
        Handlers().add(key, print)


def test_what_cannot_be_called_is_refused() -> None:
    """At registration, not when the first event comes."""
    with pytest.raises(ConfigError, match="callable"):
        Handlers().add("*", "print")  # type: ignore[arg-type]


class TestRemoving:
    """What ``off`` does."""

    def test_by_event_by_handler_by_both_or_all(self) -> None:
        """``None`` matches everything."""
        a, b = _named("a"), _named("b")

        def fresh() -> Handlers:
            handlers = Handlers()
            for key in ("response.text.delta", "*"):
                for handler in (a, b):
                    handlers.add(key, handler)
            return handlers

        for key, handler, left in (
            ("response.text.delta", None, ["a", "b"]),
            (None, a, ["b", "b"]),
            ("*", b, ["a", "b", "a"]),
            (None, None, []),
        ):
            handlers = fresh()
            handlers.remove(key, handler)
            assert _names(handlers, DELTA) == left

    def test_a_bound_method_is_recognised(self) -> None:
        """``obj.method`` is another object each time, and the same handler."""
        handlers, taken = Handlers(), [0]
        handlers.add("*", taken.append)
        handlers.remove(None, taken.append)
        assert handlers.of(DELTA) == ()

    def test_a_name_and_its_class_are_one_key(self) -> None:
        """Registered by name, removed by class."""
        handlers = Handlers()
        handlers.add("response.text.delta", print)
        handlers.remove(events.ResponseTextDelta, None)
        assert handlers.of(DELTA) == ()


def test_a_once_entry_is_spent_once() -> None:
    """Also when the same handler is registered twice, and when it was removed meanwhile."""
    handlers = Handlers()
    handlers.add("*", print, once=True)
    handlers.add("*", print, once=True)
    first, second = handlers.of(DELTA)
    assert handlers.spend(first)
    assert handlers.of(DELTA) == (second,)
    handlers.remove("*", print)
    assert not handlers.spend(second)


def test_errors_are_taken_by_name_only() -> None:
    """``"*"`` and base classes look on: a logger must not swallow errors."""
    handlers = Handlers()
    handlers.add("*", print)
    handlers.add(events.ServerEvent, print)
    assert not handlers.take_errors()
    handlers.add("error", print)
    assert handlers.take_errors()


def test_registering_while_events_are_looked_up_loses_nothing() -> None:
    """Four threads register and remove while a fifth looks up: what stays is found."""
    handlers = Handlers()
    handlers.add("*", _named("stays"))
    go = threading.Barrier(4)

    def churn() -> None:
        go.wait(5)
        for _ in range(200):
            handler = _named("goes")
            handlers.add("response.text.delta", handler)
            handlers.remove(None, handler)

    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()
    go.wait(5)
    for _ in range(200):
        assert _names(handlers, DELTA)[0] == "stays"
    for thread in threads:
        thread.join(10)
    assert _names(handlers, DELTA) == ["stays"]
