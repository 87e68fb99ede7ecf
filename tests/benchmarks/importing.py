"""The time of importing, over that of a bare Python."""

from __future__ import annotations

import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping
from statistics import median

from .harness import Figures, Line, Report, child, spread

STATEMENTS = {
    "bare": "pass",
    "vendor": "from dashscope.audio.qwen_tts_realtime import QwenTtsRealtime",
    "ours": "from qwen_realtime import TTSClient",
    "floor": "import tests.benchmarks.floor",
    "websocket-client": "import websocket",
}


def run(*, quick: bool) -> Report:
    """The benchmark."""
    report = Report("import")
    for statement in STATEMENTS.values():
        child(["-c", statement])  # compiles, and fills the page cache
    found: dict[str, list[Figures]] = {name: [] for name in STATEMENTS}
    for _ in range(5 if quick else 15):
        for name, statement in STATEMENTS.items():
            began = time.perf_counter()
            child(["-c", statement])
            found[name].append({"ms": (time.perf_counter() - began) * 1000})
    bare = median(each["ms"] for each in found["bare"])
    times = {name: median(each["ms"] for each in found[name]) - bare for name in STATEMENTS}
    part = times["ours"] / times["vendor"]
    shown = {name: f"{times[name]:.0f} ms" for name in ("vendor", "ours", "floor")}
    report.lines = [
        Line("import, over a bare Python", shown, found=f"{part:.3f} of vendor", wanted="0.15", passed=part <= 0.15)
    ]
    report.noise = spread(found["floor"], "ms")
    report.figures = dict(found)
    report.notes = [
        f"a bare Python takes {bare:.0f} ms, and importing websocket-client alone {times['websocket-client']:.0f} ms",
        "our import goes to: " + ", ".join(f"{name} {ms:.0f} ms" for name, ms in _by_package().items()),
    ]
    return report


def _by_package() -> Mapping[str, float]:
    """Milliseconds by top-level package, each module's own time only; Python's own start is left out."""

    def own_times(statement: str) -> dict[str, float]:
        told = child(["-X", "importtime", "-c", statement], stderr=subprocess.STDOUT)
        rows = [line.removeprefix("import time:").split("|") for line in told.splitlines()[1:]]
        return {name.strip(): int(own) / 1000 for own, _, name in (row for row in rows if len(row) == 3)}

    before = own_times("pass")
    packages: defaultdict[str, float] = defaultdict(float)
    for module, ms in own_times(STATEMENTS["ours"]).items():
        if module not in before:
            packages[module.split(".")[0]] += ms
    top = sorted(packages.items(), key=lambda item: -item[1])[:10]
    return {**dict(top), "all": sum(packages.values())}
