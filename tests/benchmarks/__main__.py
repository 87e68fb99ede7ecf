"""``python -m tests.benchmarks [name ...] [--quick] [--json FILE]``: measure and print the table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from .harness import Line
from .sides import SIDES

# Name on the command line, and module.
BENCHMARKS = {
    "receive": "receive",
    "send": "send",
    "connect": "connect",
    "import": "importing",
    "latency": "latency",
    "sessions": "sessions",
    "memory": "memory",
    "interrupt": "interrupt",
}

HEADINGS = ("what", *SIDES, "found", "wanted", "")


def main() -> int:
    """Run the benchmarks asked for; the status is 0 when all thresholds were met."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of {', '.join(BENCHMARKS)}; all without")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, noisier figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")

    reports = []
    for name in arguments.names or BENCHMARKS:
        began = time.monotonic()
        report = import_module(f".{BENCHMARKS[name]}", __package__).run(quick=arguments.quick)
        reports.append(report)
        print(f"\n## {report.name} ({time.monotonic() - began:.0f} s)\n")
        print_table(report.lines)
        if report.noise is not None:
            print(f"\nnoise: the floor spread by {report.noise:.0%} over the rounds")
        for note in report.notes:
            print(f"\n{note}")
        sys.stdout.flush()
    failed = [line for report in reports for line in report.lines if line.passed is False]
    print(f"\n{machine()}")
    print(f"{len(failed)} thresholds missed" if failed else "all thresholds met")
    if arguments.json:
        everything = {"machine": machine(), "quick": arguments.quick, "reports": [each.as_json() for each in reports]}
        arguments.json.write_text(json.dumps(everything, indent=1), encoding="utf-8")
    return 1 if failed else 0


def print_table(lines: list[Line]) -> None:
    """Print lines as a Markdown table with aligned columns."""
    verdicts = {True: "pass", False: "MISS", None: ""}
    rows: list[tuple[str, ...]] = [HEADINGS, ("-",) * len(HEADINGS)]
    for line in lines:
        sides = (line.sides.get(side, "") for side in SIDES)
        rows.append((line.what, *sides, line.found, line.wanted, verdicts[line.passed]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        fill = "-" if row[0] == "-" else " "
        print("| " + " | ".join(cell.ljust(width, fill) for cell, width in zip(row, widths, strict=True)) + " |")


def machine() -> str:
    """What the figures were taken on."""
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}, websocket-client {version('websocket-client')}, msgspec {version('msgspec')}, "
        f"dashscope {version('dashscope')}"
    )


if __name__ == "__main__":
    sys.exit(main())
