"""Sessions in real time: a 100 ms delta every 100 ms each, as speech comes. For ``latency`` and ``sessions``."""

from __future__ import annotations

import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from . import profiles
from .harness import Figures
from .sides import open_tts

PERIOD_MS = 100
LATE_MS = 100
SETTLE_S = 1.0
GRACE_S = 0.5

# An overloaded process may not come to its own end for minutes: then the system ends it.
CONNECT_S = 60
PATIENCE_S = 10

# Sessions are opened by so many threads at once: the vendor's connect sleeps.
OPENERS = 8


def measure(side: str, port: int, count: int, seconds: float, interval_ms: float = 5) -> Figures:
    """Run ``count`` sessions; how long after their writing deltas were handled, and what share of a core that took.

    Sessions begin at random points of the period. A delta that was not handled at all by the end counts as late.
    ``interval_ms`` is how long a thread may keep others waiting for the interpreter, as ``sys.setswitchinterval`` sets
    it; 5 is Python's own.
    """
    handled: list[tuple[int, int]] = []  # when it was written, and how much later it was handled; nanoseconds

    def on_delta(event_id: str, _pcm: bytes) -> None:
        now = time.monotonic_ns()
        written = int(event_id[6:])
        handled.append((written, now - written))

    sys.setswitchinterval(interval_ms / 1000)
    signal.alarm(CONNECT_S)
    with ThreadPoolExecutor(OPENERS) as openers:
        sessions = list(openers.map(lambda _: open_tts(side, port, on_delta), range(count)))
    signal.alarm(int(seconds) + PATIENCE_S)
    for session in sessions:
        session.append_text(f"pace {PERIOD_MS}")
    time.sleep(SETTLE_S)
    profiles.mark()
    cpu, began = time.process_time(), time.monotonic_ns()
    time.sleep(seconds)
    cpu, ended = time.process_time() - cpu, time.monotonic_ns()
    time.sleep(GRACE_S)
    latencies = sorted(latency / 1e6 for written, latency in list(handled) if began <= written < ended)
    due = count * (ended - began) / 1e6 / PERIOD_MS
    missing = max(0, int(due * 0.99) - count - len(latencies))  # the server may be a moment late itself
    late = sum(latency > LATE_MS for latency in latencies) + missing
    return {
        "count": count,
        "cpu_percent": cpu / (ended - began) * 1e11,
        "cpu_us": cpu / max(1, len(latencies)) * 1e6,
        "deltas": len(latencies),
        "late": late,
        "p50_ms": _at(latencies, 0.50),
        "p99_ms": _at(latencies, 0.99),
        "max_ms": _at(latencies, 1.0),
    }


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("inf")
