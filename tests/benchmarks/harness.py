"""Rounds, medians and the table: what all benchmarks share in the parent process."""

from __future__ import annotations

import atexit
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from . import profiles
from .sides import SIDES

__all__ = [
    "Figures",
    "Line",
    "Report",
    "child",
    "measured",
    "medians",
    "ratio",
    "rounds",
    "serving",
    "slices",
    "spread",
    "where_it_goes",
]

ROOT = Path(__file__).parents[2]
WORKER_TIMEOUT_S = 300

Figures = dict[str, Any]


@dataclass
class Line:
    """One line of the table.

    Attributes:
        what: is measured.
        sides: the figure of each side, with its unit.
        found: what is compared with the threshold, in words.
        wanted: the threshold, in words; empty for a line that only informs.
        passed: whether it was met; ``None`` where there is no threshold.
    """

    what: str
    sides: Mapping[str, str] = field(default_factory=dict)
    found: str = ""
    wanted: str = ""
    passed: bool | None = None


@dataclass
class Report:
    """The outcome of one benchmark.

    Attributes:
        name: of the benchmark.
        lines: of the table.
        noise: the spread of the floor over the rounds: (largest - smallest) / median.
        notes: what else is to be said: curves, and what the remaining time is spent on.
        figures: everything measured, by side and round.
    """

    name: str
    lines: list[Line] = field(default_factory=list)
    noise: float | None = None
    notes: list[str] = field(default_factory=list)
    figures: Figures = field(default_factory=dict)

    def as_json(self) -> Figures:
        """All of it, for ``--json``."""
        return asdict(self)


@contextmanager
def serving() -> Iterator[int]:
    """A server in a process of its own; gives its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


@cache
def _environment() -> dict[str, str]:
    """The environment of measured processes: no keys, and compiled modules kept, as in an installed program."""
    compiled = tempfile.TemporaryDirectory(prefix="qwen-benchmarks-")
    atexit.register(compiled.cleanup)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DASHSCOPE", "QWEN", "PYTHON"))}
    return {**kept, "PYTHONPYCACHEPREFIX": compiled.name}


def child(arguments: list[str], stderr: int | None = None) -> str:
    """Run Python with these arguments; gives what it printed.

    Args:
        arguments: for the interpreter.
        stderr: as for ``subprocess``.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=WORKER_TIMEOUT_S,
        check=True,
    )
    return done.stdout


def measured(name: str, side: str, **parameters: Any) -> Figures:
    """The figures of one side, measured in a process of its own."""
    out = child(["-m", "tests.benchmarks.worker", name, side, json.dumps(parameters)])
    figures: Figures = json.loads(out.splitlines()[-1])
    return figures


def rounds(name: str, count: int, parameters: Mapping[str, Figures]) -> dict[str, list[Figures]]:
    """Measure the sides in turn, so many rounds, each beginning with another side.

    Args:
        name: of the benchmark's module, whose ``measure`` runs in the worker.
        count: rounds.
        parameters: of each side.
    """
    found: dict[str, list[Figures]] = {side: [] for side in SIDES if side in parameters}
    sides = list(found)
    for number in range(count):
        for side in sides[number % len(sides) :] + sides[: number % len(sides)]:
            found[side].append(measured(name, side, **parameters[side]))
    return found


def slices(name: str, count: int, parameters: Mapping[str, Figures]) -> dict[str, list[Figures]]:
    """Measure the sides in so many thin slices, one side after the other, each in a process of its own.

    For figures of some microseconds on a machine whose speed changes from second to second: neighbouring slices have
    seen the same machine, so that the ratios of neighbours are to be trusted where those of medians are not.

    Args:
        name: of the benchmark's module, whose ``measure`` is a generator.
        count: slices of each side.
        parameters: of each side.
    """
    found: dict[str, list[Figures]] = {side: [] for side in SIDES if side in parameters}
    with ExitStack() as stack:
        workers = {side: stack.enter_context(_worker(name, side, parameters[side])) for side in found}
        for number in range(count):
            order = list(found)
            for side in order[number % len(order) :] + order[: number % len(order)]:
                stdin, stdout = workers[side].stdin, workers[side].stdout
                assert stdin is not None
                assert stdout is not None
                stdin.write("\n")
                stdin.flush()
                found[side].append(json.loads(stdout.readline()))
    return found


@contextmanager
def _worker(name: str, side: str, parameters: Figures) -> Iterator[subprocess.Popen[str]]:
    """A process that measures a slice for each line it is sent."""
    command = [sys.executable, "-m", "tests.benchmarks.worker", name, side, json.dumps(parameters)]
    with subprocess.Popen(
        command, cwd=ROOT, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ratio(found: Mapping[str, list[Figures]], key: str, side: str, other: str) -> float:
    """The median ratio of one figure between two sides, neighbour by neighbour."""
    pairs = zip(found[side], found[other], strict=True)
    return statistics.median(mine[key] / theirs[key] for mine, theirs in pairs)


def medians(found: Mapping[str, list[Figures]], key: str) -> dict[str, float]:
    """The median of one figure, by side."""
    return {side: statistics.median(figures[key] for figures in each) for side, each in found.items()}


def spread(found: list[Figures], key: str) -> float:
    """(largest - smallest) / median of one figure."""
    values: list[float] = [figures[key] for figures in found]
    return (max(values) - min(values)) / statistics.median(values)


def where_it_goes(name: str, what: str, parameters: Figures, clock: str = "cpu") -> list[str]:
    """What our side's time is spent on, as text; measured in a run of its own."""
    if not profiles.supported():
        return [f"{what}: no profile; it needs Python 3.11 or older"]
    found = measured(name, "ours", profile=clock, **parameters)
    return [f"{what} goes to: " + ", ".join(f"{function} {share:.0%}" for function, share in found.items())]
