"""CPU of the client process per 100 ms of input audio."""

from __future__ import annotations

import time

from . import profiles
from .harness import Figures, Line, Report, medians, rounds, serving, spread, where_it_goes
from .sides import open_asr

BLOCK_BYTES = 3200


def measure(side: str, port: int, count: int) -> Figures:
    """Send ``count`` blocks of 100 ms; microseconds of CPU per block."""
    session, append_audio = open_asr(side, port)
    block = bytes(range(256)) * (BLOCK_BYTES // 256) + bytes(BLOCK_BYTES % 256)
    for _ in range(count // 10):
        append_audio(block)
    profiles.mark()
    began = time.process_time()
    for _ in range(count):
        append_audio(block)
    cpu = time.process_time() - began
    session.close()
    return {"cpu_us": cpu / count * 1e6}


def run(*, quick: bool) -> Report:
    """The benchmark."""
    report = Report("send")
    with serving() as port:
        mine = {"port": port, "count": 2000 if quick else 10000}
        found = rounds("send", 3 if quick else 9, {"vendor": mine, "ours": mine, "floor": mine})
        cpu = medians(found, "cpu_us")
        shown = {side: f"{value:.1f} us" for side, value in cpu.items()}
        part, above = cpu["ours"] / cpu["vendor"], cpu["ours"] / cpu["floor"]
        report.lines += [
            Line(
                "CPU per append_audio(3200 bytes)",
                shown,
                found=f"{part:.2f} of vendor",
                wanted="0.5",
                passed=part <= 0.5,
            ),
            Line("", {}, f"{above:.2f}x floor", "1.3x", above <= 1.3),
        ]
        report.noise = spread(found["floor"], "cpu_us")
        report.figures = dict(found)
        report.notes = where_it_goes("send", "a block", mine)
    return report
