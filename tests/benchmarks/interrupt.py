"""The time of ``interrupt()`` with ten minutes of audio queued.

The vendor SDK has no player. The floor is the least that a player could do: empty a queue of the same blocks under a
lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from statistics import median

from . import profiles
from .harness import Figures, Line, Report, rounds, spread, where_it_goes

RATE = 24000
MINUTES = 10
BLOCK_MS = 100
LIMIT_MS = 1.0


def measure(side: str, count: int) -> Figures:
    """Queue ten minutes and interrupt, ``count`` times; milliseconds, the median and the worst."""
    block = bytes(RATE * BLOCK_MS // 1000 * 2)
    blocks = MINUTES * 60_000 // BLOCK_MS
    times = (_player if side == "ours" else _queue)(block, blocks, count)
    return {"ms": median(times), "worst_ms": max(times)}


def _player(block: bytes, blocks: int, count: int) -> list[float]:
    from qwen_realtime import AudioPlayer
    from qwen_realtime.audio import MemoryOutput

    times = []
    with AudioPlayer(RATE, output=MemoryOutput(speed=1, keep=False)) as player:
        for turn in range(count):
            for _ in range(blocks):
                player.write(block, tag=f"response {turn}")
            while not player.playing:
                time.sleep(0.005)
            if turn == 0:
                profiles.mark()
            began = time.perf_counter()
            player.interrupt()
            times.append((time.perf_counter() - began) * 1000)
        player.close()
    return times


def _queue(block: bytes, blocks: int, count: int) -> list[float]:
    lock, times = threading.Lock(), []
    for _ in range(count):
        queue = deque(bytearray(block) for _ in range(blocks))
        began = time.perf_counter()
        with lock:
            queue.clear()
        times.append((time.perf_counter() - began) * 1000)
    return times


def run(*, quick: bool) -> Report:
    """The benchmark."""
    report = Report("interrupt")
    mine = {"count": 10 if quick else 30}
    found = rounds("interrupt", 2 if quick else 5, {"ours": mine, "floor": mine})
    typical = {side: median(each["ms"] for each in found[side]) for side in found}
    worst = {side: max(each["worst_ms"] for each in found[side]) for side in found}
    shown = {side: f"{typical[side]:.3f} ms, worst {worst[side]:.3f}" for side in found}
    report.lines = [
        Line(
            "interrupt() with ten minutes queued",
            {"vendor": "none", **shown},
            found=f"{typical['ours']:.3f} ms",
            wanted="1 ms",
            passed=typical["ours"] < LIMIT_MS,
        )
    ]
    report.noise = spread(found["floor"], "ms")
    report.figures = dict(found)
    report.notes = where_it_goes("interrupt", "the CPU time of interrupt() and close()", {"count": 1})
    return report
