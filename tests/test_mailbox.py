"""The queue between the receiving thread and the handlers."""

from __future__ import annotations

import queue
import select
import threading

import pytest

from qwen_realtime import events
from qwen_realtime.errors import ConfigError
from qwen_realtime.mailbox import Mailbox

EVENT = events.SessionFinished()


def _putting(box: Mailbox, size: int) -> tuple[threading.Thread, threading.Event]:
    """A thread that puts one event, and what it sets when it has."""
    done = threading.Event()

    def put() -> None:
        box.put(EVENT, size)
        done.set()

    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    return thread, done


def test_events_come_out_in_order_and_then_the_end() -> None:
    """``None`` is the end."""
    box = Mailbox()
    first, last = events.SessionCreated(), events.Disconnected(info=events.CloseInfo())
    box.put(first, 10)
    box.put_last(last)
    assert [box.get(), box.get(), box.get()] == [first, last, None]


def test_an_empty_box_says_so() -> None:
    """With and without waiting."""
    for timeout in (0, 0.01):
        with pytest.raises(queue.Empty):
            Mailbox().get(timeout)


def test_a_full_box_stops_the_producer_until_there_is_room() -> None:
    """The bound is in bytes: what is over it makes the next one wait."""
    box = Mailbox(limit_bytes=100)
    box.put(EVENT, 101)
    thread, done = _putting(box, 1)
    assert not done.wait(0.05)
    assert box.get(1) is EVENT
    assert done.wait(5)
    thread.join(5)


def test_the_bound_gives_way_to_a_consumer_that_waits_for_the_producer() -> None:
    """Otherwise a handler that waits for an answer would stop the thread that brings it."""
    box = Mailbox(limit_bytes=100)
    box.put(EVENT, 101)
    thread, done = _putting(box, 1)
    assert not done.wait(0.05)
    box.lift()
    assert done.wait(5)
    box.restore()
    thread.join(5)
    thread, done = _putting(box, 1)
    assert not done.wait(0.05), "the bound holds again"
    box.get(1)
    assert done.wait(5)
    thread.join(5)


def test_the_bound_gives_way_for_good_when_the_producer_is_closed() -> None:
    """A receiving thread that waits for room could not end otherwise."""
    box = Mailbox(limit_bytes=100)
    box.put(EVENT, 101)
    thread, done = _putting(box, 1)
    assert not done.wait(0.05)
    box.let_end()
    assert done.wait(5)
    thread.join(5)
    box.put(EVENT, 1000)
    box.put(EVENT, 1000)


def test_the_end_needs_no_room() -> None:
    """The last event is put without waiting."""
    box = Mailbox(limit_bytes=1)
    box.put(EVENT, 2)
    box.put_last(EVENT)
    assert box.get(1) is EVENT


class TestTheDescriptor:
    """For loops that wait with ``select``."""

    def test_it_is_readable_while_events_wait(self) -> None:
        """And not after it has been hushed."""
        box = Mailbox(selectable=True)
        assert select.select([box], [], [], 0)[0] == []
        for _ in range(3):
            box.put(EVENT, 1)
        assert select.select([box], [], [], 1)[0] == [box]
        box.hush()
        assert select.select([box], [], [], 0)[0] == []
        box.close()

    def test_it_never_blocks_the_producer(self) -> None:
        """However many events nobody looks at."""
        box = Mailbox(selectable=True)
        for _ in range(20_000):
            box.ring()
        assert select.select([box], [], [], 0)[0] == [box]
        box.close()
        box.ring()

    def test_a_box_without_one_says_so(self) -> None:
        """It is there with ``dispatch="manual"`` only."""
        with pytest.raises(ConfigError, match="manual"):
            Mailbox().fileno()
