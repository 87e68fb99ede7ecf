"""What the process, an idle session, and a long session keep in memory."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import defaultdict
from pathlib import Path

from .harness import Figures, Line, Report, medians, rounds, serving, spread
from .sides import open_tts

TIMEOUT_S = 120

# Ten seconds of speech at once. In a longer flood the queue to the handlers grows as far as the handlers are behind,
# which is not what this is about.
BURST = 100

# Thread stacks are mappings of this size; glibc puts each into one of its own.
STACK_KB = 8192


def measure(side: str, port: int, sessions: int, deltas: int) -> Figures:
    """Memory of a process with one session, of each further idle session, and growth over a flood, in KB."""
    seen, wanted = 0, 0
    arrived = threading.Event()

    def on_delta(_event_id: str, _pcm: bytes) -> None:
        nonlocal seen
        seen += 1
        if seen == wanted:
            arrived.set()

    def take(count: int) -> None:
        nonlocal seen, wanted
        for _ in range(count // BURST):
            seen, wanted = 0, BURST
            arrived.clear()
            first.append_text(f"flood 100 {BURST}")
            if not arrived.wait(TIMEOUT_S):
                raise TimeoutError(f"{seen} of {wanted} deltas came")

    first = open_tts(side, port, on_delta)
    process_kb = rss_kb()
    others = [open_tts(side, port) for _ in range(10)]
    time.sleep(0.2)
    before, mapped = rss_kb(), by_kind()
    others += [open_tts(side, port) for _ in range(sessions)]
    time.sleep(0.2)
    session_kb = (rss_kb() - before) / sessions
    kinds = {kind: (kb - mapped.get(kind, 0)) / sessions for kind, kb in by_kind().items()}
    take(deltas // 10)
    early = rss_kb()
    take(deltas)
    return {
        "process_kb": process_kb,
        "session_kb": session_kb,
        "growth_kb": rss_kb() - early,
        "kinds": kinds,
    }


def rss_kb() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def by_kind() -> dict[str, float]:
    """Resident KB of this process by what it is for, as far as the system's map tells."""
    kinds: defaultdict[str, float] = defaultdict(float)
    kind = ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            kind = line.split(maxsplit=5)[5] if len(line.split(maxsplit=5)) == 6 else ""
        elif line.startswith("Size:"):
            size = int(line.split()[1])
        elif line.startswith("Rss:"):
            name = "heap" if kind == "[heap]" else "files" if kind.startswith("/") else "thread stacks"
            if not kind and size < STACK_KB - 8:
                name = "Python objects and other mappings"
            kinds[name] += int(line.split()[1])
    return dict(kinds)


def run(*, quick: bool) -> Report:
    """The benchmark."""
    report = Report("memory")
    with serving() as port:
        mine = {"port": port, "sessions": 100 if quick else 300, "deltas": 20_000 if quick else 100_000}
        parameters = {"vendor": mine | {"sessions": 50, "deltas": 1000}, "ours": mine, "floor": mine}
        found = rounds("memory", 2 if quick else 3, parameters)
    process, session, growth = (medians(found, key) for key in ("process_kb", "session_kb", "growth_kb"))
    part = process["ours"] / process["vendor"]
    report.lines = [
        Line(
            "process with one session",
            {side: f"{kb / 1024:.1f} MB" for side, kb in process.items()},
            found=f"{part:.2f} of vendor",
            wanted="0.6",
            passed=part <= 0.6,
        ),
        Line(
            "each further idle session",
            {side: f"{kb:.0f} KB" for side, kb in session.items()},
            found=f"{session['ours']:.0f} KB",
            wanted="80 KB",
            passed=session["ours"] <= 80,
        ),
        Line(
            f"growth over {mine['deltas']} deltas",
            {side: f"{growth[side]:.0f} KB" for side in ("ours", "floor")},
            found=f"{growth['ours']:.0f} KB",
            wanted="flat (1 MB)",
            passed=growth["ours"] <= 1024,
        ),
    ]
    report.noise = spread(found["floor"], "process_kb")
    report.figures = dict(found)
    report.notes = [
        "a session of ours is made of: "
        + ", ".join(f"{kind} {kb:.0f} KB" for kind, kb in found["ours"][0]["kinds"].items())
    ]
    return report
