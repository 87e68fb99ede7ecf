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


@pytest.fixture
def offers() -> list[bool]:
    """Grows with each offer of room."""
    return []


@pytest.fixture
def full(offers: list[bool]) -> Mailbox:
    """A box whose producer has been told that there is no room."""
    box = Mailbox(limit_bytes=100)
    box.on_room = lambda: offers.append(box.has_room())
    assert box.has_room()
    box.put(EVENT, 101)
    assert not box.has_room()
    return box


def test_a_full_box_has_no_room_until_something_is_taken(full: Mailbox, offers: list[bool]) -> None:
    """The bound is in bytes; the producer is told once, when there is room, and only if it has asked."""
    assert full.get(1) is EVENT
    assert offers == [True]
    full.put(EVENT, 101)
    assert full.get(1) is EVENT
    assert offers == [True]


def test_room_is_offered_only_when_there_is_enough(full: Mailbox, offers: list[bool]) -> None:
    """One event taken of many is not yet room."""
    full.put(EVENT, 200)
    full.get(1)
    assert offers == []
    full.get(1)
    assert offers == [True]


def test_the_bound_gives_way_to_a_consumer_that_waits_for_the_producer(full: Mailbox, offers: list[bool]) -> None:
    """Otherwise a handler that waits for an answer would stop the thread that brings it."""
    full.lift()
    assert offers == [True]
    full.restore()
    assert not full.has_room(), "the bound holds again"


def test_the_bound_gives_way_for_good_when_the_producer_is_closed(full: Mailbox, offers: list[bool]) -> None:
    """A connection that waits for room could not end otherwise."""
    full.let_end()
    assert offers == [True]
    full.put(EVENT, 1000)
    assert full.has_room()


def test_no_offer_of_room_is_missed() -> None:
    """Whatever the moment at which the producer finds the box full and the consumer takes something out."""
    box, room = Mailbox(limit_bytes=100), threading.Event()
    box.on_room = room.set
    count = 3000

    def produce() -> None:
        for _ in range(count):
            while not box.has_room():
                assert room.wait(5), "nobody offered room"
                room.clear()
            box.put(EVENT, 101)
        box.put_last(None)

    producer = threading.Thread(target=produce)
    producer.start()
    taken = 0
    while box.get(5) is not None:
        taken += 1
    producer.join(5)
    assert taken == count


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
