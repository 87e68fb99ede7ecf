"""The time to a usable session: connected, configured, and confirmed by the server."""

from __future__ import annotations

import time
from statistics import median

from . import profiles
from .harness import Figures, Line, Report, medians, rounds, serving, spread, where_it_goes
from .sides import open_tts


def measure(side: str, port: int, count: int) -> Figures:
    """Connect ``count`` times, one after the other; milliseconds of time and of CPU for each, in the median."""
    open_tts(side, port).close()
    times, cpus = [], []
    profiles.mark()
    for _ in range(count):
        cpu, began = time.process_time(), time.perf_counter()
        session = open_tts(side, port)
        times.append((time.perf_counter() - began) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
        session.close()
    return {"ms": median(times), "cpu_ms": median(cpus)}


def run(*, quick: bool) -> Report:
    """The benchmark."""
    report = Report("connect")
    with serving() as port:
        mine = {"port": port, "count": 50}
        found = rounds("connect", 3 if quick else 7, {"vendor": mine | {"count": 10}, "ours": mine, "floor": mine})
        times, cpu = medians(found, "ms"), medians(found, "cpu_ms")
        part = times["ours"] / times["vendor"]
        report.lines = [
            Line(
                "time to a usable session",
                {side: f"{value:.1f} ms" for side, value in times.items()},
                found=f"{part:.3f} of vendor",
                wanted="0.12",
                passed=part <= 0.12,
            ),
            Line("CPU of the client for it", {side: f"{value:.1f} ms" for side, value in cpu.items()}),
        ]
        report.noise = spread(found["floor"], "ms")
        report.figures = dict(found)
        report.notes = where_it_goes("connect", "the CPU time of connecting and closing", mine)
    return report
