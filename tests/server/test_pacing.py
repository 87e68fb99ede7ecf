"""The lane of responses."""

from __future__ import annotations

import pytest

from qwen_realtime import events as ev
from qwen_realtime.server.pacing import Lane


def delta(number: int) -> ev.ServerEvent:
    """Some sound."""
    return ev.ResponseAudioDelta(delta=bytes([number]))


def test_everything_leaves_in_order_with_actions_in_their_place() -> None:
    """Actions run when what was put before them has left."""
    left: list[object] = []
    lane = Lane(left.append)
    lane.put(delta(1), seconds=0.2)
    lane.then(lambda: left.append("one is out"))
    lane.put(delta(2), seconds=0.2)
    assert lane.wait(0.0) == 0.0
    lane.release(0.0, lambda: True)
    assert left == [delta(1), "one is out", delta(2)]
    assert lane.wait(0.0) is None


def test_what_may_not_leave_waits() -> None:
    """No room, no event; nothing is lost."""
    left: list[object] = []
    lane = Lane(left.append)
    lane.put(delta(1), delta(2), delta(3), seconds=0.2)
    lane.release(0.0, lambda: len(left) < 2)
    assert left == [delta(1), delta(2)]
    assert lane.seconds == pytest.approx(0.2)


def test_pace_spreads_sound_over_time_and_nothing_else() -> None:
    """At twice real time, 200 ms take 100."""
    left: list[object] = []
    lane = Lane(left.append, pace=2.0)
    lane.put(delta(1), delta(2), seconds=0.2)
    lane.put(ev.ResponseAudioDone())
    lane.release(5.0, lambda: True)
    assert left == [delta(1)]
    assert lane.wait(5.0) == pytest.approx(0.1)
    lane.release(5.1, lambda: True)
    assert left == [delta(1), delta(2), ev.ResponseAudioDone()]


def test_clearing_forgets_all_and_starts_anew_at_once() -> None:
    """Sound after a cancellation does not wait for sound before it."""
    left: list[object] = []
    lane = Lane(left.append, pace=1.0)
    lane.put(delta(1), delta(2), seconds=10.0)
    lane.then(lambda: left.append("never"))
    lane.release(0.0, lambda: True)
    lane.clear()
    lane.put(delta(3), seconds=1.0)
    lane.release(0.1, lambda: True)
    assert left == [delta(1), delta(3)]


def test_an_action_may_clear_the_lane() -> None:
    """It is part of what leaves."""
    lane = Lane(lambda _: None)
    lane.then(lane.clear)
    lane.put(delta(1))
    lane.release(0.0, lambda: True)
    assert len(lane) == 0


def test_whoever_waits_for_a_low_lane_is_called_when_it_is() -> None:
    """At once if it is so already."""
    called: list[str] = []
    lane = Lane(lambda _: None)
    lane.when_low(lambda: called.append("at once"))
    lane.put(*(delta(0) for _ in range(60)), seconds=0.2)
    lane.when_low(lambda: called.append("later"))
    assert called == ["at once"]
    lane.release(0.0, lambda: lane.seconds > 10.5)
    assert called == ["at once"]
    lane.release(0.0, lambda: True)
    assert called == ["at once", "later"]
