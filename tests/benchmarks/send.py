"""CPU of the client process per 100 ms of input audio."""

from __future__ import annotations

import time
from collections.abc import Iterator

from . import profiles
from .harness import Figures, Line, Report, medians, ratio, serving, slices, spread, where_it_goes
from .sides import SIDES, open_asr

BLOCK_BYTES = 3200

# Our client loads numpy, which masks faster, after a minute of audio: what it costs before and after are two figures.
SETTLED_BLOCKS = 700
SHORT_BLOCKS = 500

SLICE_BLOCKS = 250


def measure(side: str, port: int, count: int, settled: bool) -> Iterator[Figures]:
    """Send ``count`` slices of 25 s of audio in blocks of 100 ms; gives microseconds of CPU per block of each.

    Args:
        side: one of ``SIDES``.
        port: of the server.
        count: slices.
        settled: measure a session that has sent more than a minute before; else one after the other in its first.
    """
    block = bytes(range(256)) * (BLOCK_BYTES // 256) + bytes(BLOCK_BYTES % 256)
    for number in range(count):
        if number == 0 or not settled:
            session, append_audio = open_asr(side, port)
            for _ in range(SETTLED_BLOCKS if settled else SHORT_BLOCKS - SLICE_BLOCKS):
                append_audio(block)
            profiles.mark()
        began = time.process_time()
        for _ in range(SLICE_BLOCKS):
            append_audio(block)
        cpu = time.process_time() - began
        if not settled:
            session.close()
        yield {"cpu_us": cpu / SLICE_BLOCKS * 1e6}


def run(*, quick: bool) -> Report:
    """The benchmark."""
    report = Report("send")
    with serving() as port:
        count = 30 if quick else 200
        mine = {"port": port, "count": count, "settled": True}
        early = {**mine, "settled": False}
        for what, parameters in (
            ("CPU per append_audio(3200 bytes)", mine),
            ("the same in a session's first minute", early),
        ):
            found = slices("send", count, dict.fromkeys(SIDES, parameters))
            report.figures[what] = found
            shown = {side: f"{value:.1f} us" for side, value in medians(found, "cpu_us").items()}
            part, above = ratio(found, "cpu_us", "ours", "vendor"), ratio(found, "cpu_us", "ours", "floor")
            of_vendor, of_floor = f"{part:.2f} of vendor", f"{above:.2f}x floor"
            if parameters is mine:
                report.lines.append(Line(what, shown, of_vendor, "0.5", part <= 0.5))
                report.lines.append(Line("", {}, of_floor, "1.3x", above <= 1.3))
                report.noise = spread(found["floor"], "cpu_us")
            else:
                report.lines.append(Line(what, shown, f"{of_vendor}, {of_floor}"))
        report.notes = [
            *where_it_goes("send", "a block", mine),
            *where_it_goes("send", "a block in the first minute", early),
            "the floor masks by long integers, as goes without any library; ours by numpy once it has settled",
        ]
    return report
