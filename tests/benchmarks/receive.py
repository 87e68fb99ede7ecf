"""CPU of the client process per audio delta, in a flood."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from . import profiles
from .harness import Figures, Line, Report, measured, medians, rounds, serving, spread, where_it_goes
from .sides import open_tts

TIMEOUT_S = 60


def measure(side: str, port: int, ms: int, count: int, trace: bool = False) -> Figures:
    """Take a flood of ``count`` deltas of ``ms`` milliseconds; microseconds of CPU and of time per delta."""
    seen, wanted, size = 0, 0, 0
    arrived = threading.Event()

    def on_delta(_event_id: str, pcm: bytes) -> None:
        nonlocal seen, size
        seen += 1
        size += len(pcm)
        if seen == wanted:
            arrived.set()

    def take(deltas: int) -> tuple[float, float]:
        nonlocal seen, wanted
        seen, wanted = 0, deltas
        arrived.clear()
        cpu, wall = time.process_time(), time.perf_counter()
        session.append_text(f"flood {ms} {deltas}")
        if not arrived.wait(TIMEOUT_S):
            raise TimeoutError(f"{seen} of {wanted} deltas came")
        return (time.process_time() - cpu) / deltas * 1e6, (time.perf_counter() - wall) / deltas * 1e6

    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"trace": Path(folder) / "trace.jsonl"} if trace else {}
        session = open_tts(side, port, on_delta, **options)
        take(max(1, count // 200) * 20)
        size = 0
        profiles.mark()
        cpu_us, wall_us = take(count)
        session.close()
    if size != count * ms * 48:
        raise ValueError(f"{size} bytes of audio came in place of {count * ms * 48}")
    return {"cpu_us": cpu_us, "wall_us": wall_us}


def run(*, quick: bool) -> Report:
    """The benchmark."""
    report = Report("receive")
    with serving() as port:
        for ms, most, count, vendor_count in ((100, 30, 10000, 1000), (1000, 60, 2000, 100)):
            count, vendor_count = (count // 5, vendor_count // 2) if quick else (count, vendor_count)
            mine = {"port": port, "ms": ms, "count": count}
            found = rounds(
                "receive", 3 if quick else 7, {"vendor": mine | {"count": vendor_count}, "ours": mine, "floor": mine}
            )
            cpu = medians(found, "cpu_us")
            shown = {side: f"{value:.1f} us" for side, value in cpu.items()}
            lighter, above = cpu["vendor"] / cpu["ours"], cpu["ours"] / cpu["floor"]
            report.lines.append(
                Line(
                    f"CPU per {ms} ms delta, flood",
                    shown,
                    found=f"{lighter:.0f}x below vendor",
                    wanted=f"{most}x" + (", aim 40x" if ms == 100 else ""),
                    passed=lighter >= most,
                )
            )
            if ms == 100:
                report.lines.append(Line("", {}, f"{above:.2f}x floor", "4x", above <= 4))
                report.noise = spread(found["floor"], "cpu_us")
                traced = measured("receive", "ours", trace=True, **mine)
                report.lines.append(Line("the same, written to a trace file", {"ours": f"{traced['cpu_us']:.1f} us"}))
            report.figures[f"{ms} ms"] = found
            report.notes += where_it_goes("receive", f"a {ms} ms delta", mine)
    return report
