"""How many sessions one process carries in real time, and what share of a core they take."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from subprocess import CalledProcessError

from .harness import Figures, Line, Report, measured, serving, where_it_goes
from .sides import SIDES

STEPS = {
    "vendor": (20, 40, 60, 80, 100, 110, 120, 130, 150, 200),
    "ours": (100, 250, 500, 750, 1000, 1100, 1250, 1500, 2000),
    "floor": (500, 1000, 2000, 3000),
}
QUICK_STEPS = {"vendor": (40, 80, 100, 120), "ours": (100, 500, 1000), "floor": (1000,)}

# Python's own, and what a program with very many threads may set by sys.setswitchinterval. Threads that wait for the
# interpreter wake once per interval, all of them; a process that falls behind for a moment may not get up again.
INTERVALS_MS = (5, 50)

# A step that fails is tried again: other programs of the machine may have been to blame.
ATTEMPTS = 2


def run(*, quick: bool) -> Report:
    """The benchmark."""
    report = Report("sessions")
    with serving() as port:
        for interval in INTERVALS_MS:
            for side, steps in (QUICK_STEPS if quick else STEPS).items():
                mine = {"port": port, "seconds": 3 if quick else 6, "interval_ms": interval}
                curve = _curve(side, steps, mine)
                report.figures[f"{side}, {interval} ms"] = curve
                report.notes.append(f"{side}, switch interval {interval} ms: {_drawn(curve)}")
            report.lines += _lines(interval, report.figures)
        report.notes += where_it_goes("paced", "the CPU time of a delta", {"port": port, "count": 200, "seconds": 3})
    return report


def _curve(side: str, steps: Sequence[int], parameters: Figures) -> list[Figures]:
    """Points of the curve, up to the first with a late delta."""
    curve: list[Figures] = []
    for count in steps:
        step = _step(side, count, parameters)
        if step:
            curve.append(step)
        if not step or step["late"]:
            break
    return curve


def _lines(interval: int, curves: Figures) -> list[Line]:
    in_time = {side: [step for step in curves[f"{side}, {interval} ms"] if not step["late"]] for side in SIDES}
    carried = {side: max((step["count"] for step in curve), default=0) for side, curve in in_time.items()}
    times = carried["ours"] / max(1, carried["vendor"])
    _, slope, straight = _fit(in_time["ours"])
    return [
        Line(
            f"sessions with every delta within 100 ms, switch interval {interval} ms",
            {side: str(count) for side, count in carried.items()},
            f"{times:.1f}x vendor",
            "10x",
            times >= 10,
        ),
        Line("", {}, str(carried["ours"]), "1000", carried["ours"] >= 1000),
        Line(
            "CPU against sessions",
            {"ours": f"{slope:.3f} % of a core each"},
            f"R2 {straight:.3f}",
            "linear (R2 0.98)",
            straight >= 0.98,
        ),
    ]


def _step(side: str, count: int, parameters: Figures) -> Figures:
    """One point of the curve; empty where the process broke down."""
    step: Figures = {}
    for _ in range(ATTEMPTS):
        with suppress(CalledProcessError):
            step = measured("paced", side, count=count, **parameters)
            if not step["late"]:
                break
    return step


def _drawn(curve: list[Figures]) -> str:
    """A curve as text."""
    lines = ["CPU against sessions, one column for 2.5 % of a core"]
    for step in curve:
        bar = "#" * round(step["cpu_percent"] / 2.5)
        times = f"p50 {step['p50_ms']:.2f} ms, p99 {step['p99_ms']:.1f} ms, max {step['max_ms']:.0f} ms"
        lines.append(
            f"  {step['count']:5d} {bar} {step['cpu_percent']:.0f} %, {times}"
            + (f", {step['late']} late" if step["late"] else "")
        )
    return "\n".join(lines)


def _fit(curve: list[Figures]) -> tuple[float, float, float]:
    """A straight line through the curve: offset, slope in per cent of a core per session, and R2."""
    points = [(step["count"], step["cpu_percent"]) for step in curve]
    if len(points) < 2:
        return 0.0, 0.0, 0.0
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    across = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / across
    offset = mean_y - slope * mean_x
    apart = sum((y - offset - slope * x) ** 2 for x, y in points)
    return offset, slope, 1 - apart / sum((y - mean_y) ** 2 for _, y in points)
