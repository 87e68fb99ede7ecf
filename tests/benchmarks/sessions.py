"""How many sessions one process carries in real time, and what share of a core they take."""

from __future__ import annotations

from contextlib import suppress
from subprocess import CalledProcessError

from .harness import Figures, Line, Report, measured, serving, where_it_goes

STEPS = {
    "vendor": (10, 20, 40, 60, 80, 100, 125, 150, 200),
    "ours": (100, 250, 500, 750, 1000, 1250, 1500, 2000, 2500),
    "floor": (500, 1000, 2000, 3000),
}
QUICK_STEPS = {"vendor": (20, 40, 60, 80, 100), "ours": (100, 500, 1000), "floor": (1000,)}

# A step that fails is tried again: other programs of the machine may have been to blame.
ATTEMPTS = 2


def run(*, quick: bool) -> Report:
    """The benchmark."""
    report = Report("sessions")
    carried: dict[str, int] = {}
    with serving() as port:
        for side, steps in (QUICK_STEPS if quick else STEPS).items():
            curve: list[Figures] = []
            carried[side] = 0
            for count in steps:
                step = _step(side, port, count, 3 if quick else 6)
                if step:
                    curve.append(step)
                if not step or step["late"]:
                    break
                carried[side] = count
            report.figures[side] = curve
            report.notes.append(_drawn(side, curve))
        report.notes += where_it_goes("paced", "the CPU time of a delta", {"port": port, "count": 200, "seconds": 3})
    times = carried["ours"] / max(1, carried["vendor"])
    fit = _fit([step for step in report.figures["ours"] if not step["late"]])
    report.lines = [
        Line(
            "real-time sessions, every delta handled within 100 ms",
            {side: str(count) for side, count in carried.items()},
            found=f"{times:.0f}x vendor",
            wanted="10x",
            passed=times >= 10,
        ),
        Line("", {}, str(carried["ours"]), "1000", carried["ours"] >= 1000),
        Line(
            "CPU against sessions",
            {"ours": f"{fit[1]:.3f} % of a core each"},
            found=f"R2 {fit[2]:.3f}",
            wanted="linear (R2 0.98)",
            passed=fit[2] >= 0.98,
        ),
    ]
    return report


def _step(side: str, port: int, count: int, seconds: float) -> Figures:
    """One point of the curve; empty where the process broke down."""
    step: Figures = {}
    for _ in range(ATTEMPTS):
        with suppress(CalledProcessError):
            step = measured("paced", side, port=port, count=count, seconds=seconds)
            if not step["late"]:
                break
    return step


def _drawn(side: str, curve: list[Figures]) -> str:
    """A curve as text."""
    lines = [f"{side}: CPU against sessions, one column for 2.5 % of a core"]
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
