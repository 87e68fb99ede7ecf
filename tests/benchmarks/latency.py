"""From the server's writing of a frame to the handler's entry, with fifty sessions in real time."""

from __future__ import annotations

from .harness import Line, Report, medians, rounds, serving, spread, where_it_goes

SESSIONS = 50


def run(*, quick: bool) -> Report:
    """The benchmark."""
    report = Report("latency")
    with serving() as port:
        mine = {"port": port, "count": SESSIONS, "seconds": 3 if quick else 10}
        found = rounds("paced", 3 if quick else 5, {"vendor": mine, "ours": mine, "floor": mine})
        for key, limit in (("p50_ms", 0.5), ("p99_ms", 5.0)):
            times = medians(found, key)
            report.lines.append(
                Line(
                    f"wire to handler, {SESSIONS} sessions, {key[:3]}",
                    {side: f"{ms:.2f} ms" for side, ms in times.items()},
                    found=f"{times['ours']:.2f} ms",
                    wanted=f"{limit} ms, below vendor",
                    passed=times["ours"] < min(limit, times["vendor"]),
                )
            )
        cpu = medians(found, "cpu_us")
        report.lines.append(Line("CPU per delta at this pace", {side: f"{us:.0f} us" for side, us in cpu.items()}))
        report.noise = spread(found["floor"], "p50_ms")
        report.figures = dict(found)
        floor_ms, ours_ms = medians(found, "p50_ms")["floor"], medians(found, "p50_ms")["ours"]
        report.notes.append(
            f"of our median {ours_ms * 1000:.0f} us, {floor_ms * 1000:.0f} us are the floor's: the kernel, waking one "
            "thread, decoding; the rest is the way to the second thread and our own code"
        )
        report.notes += where_it_goes("paced", "the CPU time of a delta", mine)
    return report
