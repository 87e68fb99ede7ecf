"""Whose turn it is in a worker."""

from __future__ import annotations

import threading

from qwen_realtime.server.engines.messages import Commit, Feed, Stop
from qwen_realtime.server.engines.schedule import Schedule


def test_jobs_take_turns_in_the_order_of_their_requests() -> None:
    """A job with much to do does not hold up another."""
    schedule = Schedule()
    for request in (Feed(1, b"aa"), Feed(1, b"bb"), Feed(2, b"cc")):
        schedule.put(request)
    served = []
    for _ in range(3):
        job = schedule.next()
        assert job is not None
        served.append((job, schedule.take(job)))
        schedule.again(job)
    assert served == [(1, Feed(1, b"aa")), (2, Feed(2, b"cc")), (1, Feed(1, b"bb"))]


def test_stop_drops_what_its_job_had_waiting() -> None:
    """What was fed before a stop is not worked through."""
    schedule = Schedule()
    for request in (Feed(1, b"aa"), Commit(1), Stop(1)):
        schedule.put(request)
    assert schedule.stop_requested(1)
    assert schedule.take(1) == Stop(1)
    assert schedule.take(1) is None


def test_putting_waits_while_too_much_waits() -> None:
    """A sender far ahead is slowed by its pipe filling up."""
    schedule = Schedule()
    schedule.put(Feed(1, bytes(33 * 1024 * 1024)))
    done = threading.Event()

    def put() -> None:
        schedule.put(Feed(1, b"zz"))
        done.set()

    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    assert not done.wait(0.05)
    schedule.take(1)
    assert done.wait(5)
    thread.join(5)


def test_the_end_wakes_the_waiting() -> None:
    """A worker without work ends at once."""
    schedule = Schedule()
    found: list[int | None] = [0]
    thread = threading.Thread(target=lambda: found.append(schedule.next()), daemon=True)
    thread.start()
    schedule.end()
    thread.join(5)
    assert found == [0, None]
