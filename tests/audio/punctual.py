"""Sound in real time can only be judged on a machine that runs it in time."""

from __future__ import annotations

import functools
import threading
import time
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

P = ParamSpec("P")

_STEP_S = 0.005
_LATE_S = 0.020  # half of what the sound card has in reserve between two blocks
_ATTEMPTS = 5


class Watch:
    """Measures in ``with`` how late the operating system wakes a thread that wants to run every 5 ms."""

    def __init__(self) -> None:
        self.latest_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="test-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        before = time.monotonic()
        while not self._stop.wait(_STEP_S):
            now = time.monotonic()
            self.latest_s = max(self.latest_s, now - before - _STEP_S)
            before = now


def in_real_time(test: Callable[P, None]) -> Callable[P, None]:
    """Repeat a test that failed while the machine was too busy for sound, up to four times; other failures stand."""

    @functools.wraps(test)
    def judged(*arguments: P.args, **options: P.kwargs) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            with Watch() as watch:
                try:
                    return test(*arguments, **options)
                except AssertionError as error:
                    if watch.latest_s < _LATE_S:
                        raise
                    late = f"the machine was {watch.latest_s * 1000:.0f} ms late in attempt {attempt}"
                    if attempt == _ATTEMPTS:
                        raise AssertionError(f"{late}: too busy to judge sound in real time") from error
                    print(late)
        return None

    return judged
