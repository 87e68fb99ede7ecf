"""One side of one benchmark in a process of its own, so that CPU time and memory are its own.

``python -m tests.benchmarks.worker NAME SIDE PARAMETERS`` prints the figures as one line of JSON. PARAMETERS is a JSON
object; with ``"profile"`` in it (``"cpu"`` or ``"wall"``), the figures are what the time was spent on instead.

A benchmark whose ``measure`` is a generator is measured in slices: one for each line of standard input, with a line of
figures for each.
"""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from . import profiles


def main(name: str, side: str, parameters: str) -> None:
    """Measure, print, and leave without waiting for the threads of any side."""
    options: dict[str, Any] = json.loads(parameters)
    timer = options.pop("profile", None)
    measure = import_module(f".{name}", __package__).measure
    if timer:
        profiles.begin(timer)
    figures = measure(side, **options)
    if timer:
        deque(figures, maxlen=0)  # all slices, where it has any
        figures = profiles.shares()
    if isinstance(figures, Iterator):
        for _ in sys.stdin:
            print(json.dumps(next(figures)), flush=True)
    else:
        print(json.dumps(figures), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
