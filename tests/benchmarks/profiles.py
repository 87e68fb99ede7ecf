"""What the time is spent on, over all threads of a process.

cProfile counts one thread; here each thread gets one of its own, on the thread's CPU clock, so that waiting does not
count. A profiler weighs down short calls most, so what it costs itself is measured first and taken off again.
"""

from __future__ import annotations

import cProfile
import re
import sys
import threading
import time
from collections import defaultdict
from pathlib import PurePath
from types import CodeType
from typing import Any

__all__ = ["begin", "mark", "shares", "supported"]

_CALLS = 20000

_profiles: list[cProfile.Profile] = []
_timer = time.thread_time
_costs = (0.0, 0.0)
_before: dict[str, float] = {}


def supported() -> bool:
    """Whether each thread can have a profile of its own; from Python 3.12 on there is one per process."""
    return sys.version_info < (3, 12)


def begin(timer: str) -> None:
    """Profile this thread and all that are started from now on; by ``"cpu"`` or ``"wall"`` time."""
    global _timer, _costs
    _timer = time.thread_time if timer == "cpu" else time.perf_counter
    _costs = _calibrate()
    threading.setprofile(_enter)
    _enable()


def _enter(_frame: Any, _event: str, _arg: Any) -> None:
    sys.setprofile(None)
    _enable()


def _enable() -> None:
    profile = cProfile.Profile(_timer)
    _profiles.append(profile)
    profile.enable()


def _nothing() -> None:
    pass


def _calibrate() -> tuple[float, float]:
    """The profiler's own seconds per call: inside the called function, and in its caller."""

    def calls() -> None:
        for _ in range(_CALLS):
            _nothing()

    began = time.perf_counter()
    calls()
    bare = (time.perf_counter() - began) / _CALLS
    profile = cProfile.Profile(_timer)
    profile.runcall(calls)
    own = {entry.code.co_name: entry.inlinetime for entry in profile.getstats() if isinstance(entry.code, CodeType)}
    return own["_nothing"] / _CALLS, max(0.0, own["calls"] / _CALLS - bare)


def mark() -> None:
    """What is to be measured begins here: forget what was spent before. Does nothing where nothing is profiled."""
    global _before
    if _profiles:
        _profiles[0].disable()
        _before = _spent()
        _profiles[0].enable()


def shares(count: int = 12) -> dict[str, float]:
    """The functions in which most time was spent since the mark, themselves only, as fractions of all of it."""
    _profiles[0].disable()
    spent = {name: max(0.0, seconds - _before.get(name, 0.0)) for name, seconds in _spent().items()}
    whole = sum(spent.values()) or 1.0
    top = sorted(spent.items(), key=lambda item: -item[1])[:count]
    return {name: round(seconds / whole, 4) for name, seconds in top if seconds / whole >= 0.01}


def _spent() -> dict[str, float]:
    """Seconds in each function itself, over all threads."""
    inside, outside = _costs
    spent: defaultdict[str, float] = defaultdict(float)
    for profile in _profiles:
        for entry in profile.getstats():
            children = sum(call.callcount for call in entry.calls or ())
            own = entry.inlinetime - inside * entry.callcount - outside * children
            spent[_name(entry.code)] += max(0.0, own)
    return dict(spent)


def _name(code: CodeType | str) -> str:
    if isinstance(code, str):
        method = re.match(r"<method '(\w+)' of '([\w.]+)' objects>", code)
        return f"{method[2]}.{method[1]}" if method else code.strip("<>").removeprefix("built-in method ")
    return f"{PurePath(code.co_filename).name}:{getattr(code, 'co_qualname', code.co_name)}"
