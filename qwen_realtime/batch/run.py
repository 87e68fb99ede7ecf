"""One run over many items: hands out jobs, takes back what came of them.

Jobs are handed out by the thread that asks for results, inside ``next()``, and by nobody else; so a rate limit holds
over all workers of all machines. There are never more jobs out than there are workers: one that waits in an executor's
queue would begin when it likes. A job returns its error; what an executor raises instead means that it lost a worker,
and the job is handed out again.
"""

from __future__ import annotations

import importlib.util
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from ..client import RealtimeClient
from ..dispatch import SLICE_S
from ..endpoints import key_source
from ..errors import (
    ConfigError,
    ConnectError,
    ConnectionClosed,
    HandshakeError,
    ProtocolError,
    RateLimitError,
    ServerError,
    WaitTimeout,
)
from ..results import Speech
from .jobs import Kind, break_off, run_job
from .manifest import Manifest, identity
from .throttle import RateLimit, Throttle

__all__ = ["Outcome", "Progress", "Run"]

R = TypeVar("R")
Progress: TypeAlias = bool | Callable[[int, int | None], object] | None

# Jobs at a time where an executor does not say how many workers it has; and in the thread pool that is the default.
WORKERS = 8

# A cluster is asked anew how many workers it has after so many seconds.
ASK_AGAIN_S = 5.0


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """How one item ended.

    Attributes:
        index: of the item, from 0.
        source: the item.
        result: what came of it; ``None`` where it failed.
        error: why it failed; ``None`` where it did not.
    """

    index: int
    source: Any
    result: R | None = None
    error: BaseException | None = None


@dataclass
class _Task:
    """One item on its way."""

    index: int
    source: Any
    packed: Any = None  # as it is sent
    tries: int = 0
    lost: int = 0  # how often its worker was lost
    wave: int = 0  # of the run, when it was handed out
    got_through: int = 0  # of the run, when it was made or last refused


class Run:
    """One call's state; all of it belongs to the thread that iterates. Arguments as for ``transcribe_many``."""

    def __init__(
        self,
        kind: Kind,
        items: Iterable[Any],
        executor: Executor | None,
        rate_limit: RateLimit | None,
        progress: Progress,
        retries: int,
        in_flight: int | None,
        options: dict[str, Any],
    ) -> None:
        if isinstance(items, (str, bytes, os.PathLike, Speech)) or not isinstance(items, Iterable):
            raise ConfigError(f"this takes an iterable of items, not {type(items).__name__}", hint="put it in a list")
        if executor is not None and not callable(getattr(executor, "submit", None)):
            raise ConfigError(f"{executor!r} is no executor", hint="with Dask, pass client.get_executor()")
        if rate_limit is not None and not (rate_limit.count > 0 and rate_limit.per_s > 0):
            raise ConfigError(f"a rate limit is a positive number in a positive time, not {rate_limit}")
        if retries < 0 or (in_flight is not None and in_flight < 1):
            raise ConfigError("retries must not be negative, and in_flight must be at least 1")
        if progress is True and importlib.util.find_spec("rich") is None:
            raise ConfigError("a progress bar needs rich", hint="pip install rich, or pass a function")
        if options.get("trace") is not None:
            raise ConfigError("one trace cannot take many sessions")
        self._kind = kind
        self._items = items
        self._executor = executor
        self._own: list[Executor] = []  # made here, so ended here
        self._throttle = Throttle(rate_limit)
        self._progress = progress
        self._retries = retries
        self._in_flight = in_flight
        self._workers, self._asked_at = 0, -ASK_AGAIN_S
        self._options = options
        self._run_id = uuid.uuid4().hex  # makes jobs different to executors that remember results, as Dask does
        self._manifest: Manifest | None = None
        self._fresh: Iterator[tuple[int, Any]] = iter(())
        self._again: deque[_Task] = deque()  # to be handed out next
        self._running: dict[Future[Any], _Task] = {}
        self._ready: deque[Outcome[Any]] = deque()
        self._got_through = 0  # jobs that ended without being refused because of the rate
        self._wave = 0  # a wave of jobs ends when one of them is refused

    def prepare(
        self, client_class: type[RealtimeClient], settings: dict[str, Any], path: str | os.PathLike[str] | None
    ) -> None:
        """Check everything that can be known before the first job."""
        client = client_class(**settings)
        client.close()
        url = self._options.get("url") or os.environ.get("QWEN_REALTIME_URL")
        if url:  # the workers' environment may be another
            self._options["url"] = url
        self._key = key_source(self._options.get("api_key"))
        if path is not None:
            self._items = list(self._items)
            names = [identity(item) for item in self._items]
            job = {"kind": self._kind.name, "model": client.model, "session": client._wanted, "items": names}
            self._manifest = Manifest(path, job)
        self._kind.prepare()

    def outcomes(self) -> Iterator[Outcome[Any]]:
        """Yield the outcomes as they come."""
        total = len(self._items) if isinstance(self._items, Sized) else None
        self._fresh = iter(enumerate(self._items))
        done = 0
        with self._ending(), _shown(self._progress, total, self._kind.name) as show:
            while True:
                seconds = self._hand_out()
                if not (self._ready or self._running or seconds):
                    return
                if not self._ready:
                    self._wait(seconds or SLICE_S)
                while self._ready:
                    done += 1
                    show(done)
                    yield self._ready.popleft()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._in_flight or WORKERS, thread_name_prefix="qwen-batch")
            self._own.append(self._executor)
        try:
            yield
        finally:
            for future in self._running:
                future.cancel()
            closing = break_off(self._run_id) if self._running else []
            for executor in self._own:
                executor.shutdown(wait=True, cancel_futures=True)
            for thread in closing:
                thread.join()
            if self._manifest is not None:
                self._manifest.close()

    # Handing out.

    def _hand_out(self) -> float:
        """Hand out what can be; returns how many seconds the next job must wait at most, 0 where there is none."""
        while not self._ready and (task := self._next()) is not None:
            if len(self._running) >= self._slots or self._must_wait(task):
                return SLICE_S
            if (left := self._throttle.left) > 0:
                return min(left, SLICE_S)
            self._again.popleft()
            self._submit(task)
        return 0.0

    def _next(self) -> _Task | None:
        """The next job; none while an outcome is ready."""
        while not self._again:
            index, item = next(self._fresh, (-1, None))
            if index < 0:
                return None
            kept = self._manifest.done.get(index) if self._manifest is not None else None
            result = self._kind.load(item, kept) if kept is not None else None
            if result is not None:
                self._ready.append(Outcome(index, item, result))
                return None
            self._again.append(_Task(index, item, got_through=self._got_through))
        return self._again[0]

    def _must_wait(self, task: _Task) -> bool:
        """A job that has lost two workers may be what kills them: it runs alone, so that it does no more harm."""
        suspects = task.lost > 1 or any(other.lost > 1 for other in self._running.values())
        return suspects and bool(self._running)

    @property
    def _slots(self) -> int:
        now = time.monotonic()
        if now - self._asked_at > ASK_AGAIN_S:
            self._asked_at, self._workers = now, self._in_flight or _workers_of(self._executor)
        return self._workers

    def _submit(self, task: _Task) -> None:
        assert self._executor is not None  # noqa: S101 - made when the iteration began
        task.wave = self._wave
        ticket = f"{self._run_id}-{task.index}-{task.tries}-{task.wave}"
        try:
            if task.packed is None:
                task.packed = self._kind.pack(task.source)
            options = {**self._options, "api_key": self._key()}
            future = self._executor.submit(run_job, self._kind.name, task.packed, options, ticket)
        except BrokenExecutor as error:
            self._lost(task, error)
        except Exception as error:  # noqa: BLE001 - the item's own: a stream that fails, a thing that cannot be sent
            self._end(task, None, error)
        else:
            self._running[future] = task
            self._throttle.handed_out()

    # Taking back.

    def _wait(self, seconds: float) -> None:
        """Wait for a job to end, or for the next one's turn."""
        if not self._running:
            time.sleep(seconds)
            return
        for future in wait_for(self._running, seconds, FIRST_COMPLETED).done:
            self._settle(self._running.pop(future), future)

    def _settle(self, task: _Task, future: Future[Any]) -> None:
        failure = CancelledError() if future.cancelled() else future.exception()
        if failure is not None:
            self._lost(task, failure)
            return
        result, error = future.result()
        if (seconds := _refused_for(error, task.tries)) is not None:
            self._throttle.pause(seconds, self._slots)
            self._refused(task, error)
            return
        self._got_through += 1
        if error is not None and _may_pass(error):
            if isinstance(error, ConnectError):
                self._throttle.pause(0.5 * 2**task.tries, 1)
            task.tries += 1
            self._try_again(task, error)
        else:
            self._end(task, result, error)

    def _refused(self, task: _Task, error: BaseException | None) -> None:
        """The rate was too high; which counts against the job only where nobody got through, or is at work since."""
        inside = any(other.wave < task.wave for other in self._running.values())
        if not inside and task.got_through == self._got_through:
            task.tries += 1
        task.got_through = self._got_through
        if task.wave == self._wave:
            self._wave += 1
        self._try_again(task, error)

    def _lost(self, task: _Task, failure: BaseException) -> None:
        """The executor did not bring an answer."""
        task.tries += 1
        task.lost += 1
        if isinstance(failure, BrokenExecutor):
            self._replace_broken()
        self._try_again(task, failure)

    def _try_again(self, task: _Task, error: BaseException | None) -> None:
        if task.tries > self._retries:
            self._end(task, None, error)
        else:
            self._again.append(task)

    def _end(self, task: _Task, result: Any, error: BaseException | None) -> None:
        kept = self._kind.keep(task.index, result) if error is None else None
        if self._manifest is not None:
            self._manifest.record(task.index, identity(task.source), kept, error)
        self._ready.append(Outcome(task.index, task.source, result, error))

    def _replace_broken(self) -> None:
        """Make a process pool like the one that broke, once for each break."""
        broken = self._executor
        if broken is None or not getattr(broken, "_broken", False) or not hasattr(broken, "_mp_context"):
            return
        from concurrent.futures import ProcessPoolExecutor

        how = vars(broken)
        self._executor = ProcessPoolExecutor(
            how["_max_workers"],
            mp_context=how["_mp_context"],
            initializer=how["_initializer"],
            initargs=how["_initargs"],
        )
        self._own.append(self._executor)


def _workers_of(executor: Executor | None) -> int:
    """How many jobs an executor runs at a time, where it tells."""
    workers = getattr(executor, "_max_workers", None)
    ask = getattr(getattr(executor, "_client", None), "nthreads", None)  # Dask
    if workers is None and ask is not None:
        workers = sum(ask().values())
    return max(1, workers) if isinstance(workers, int) else WORKERS


def _refused_for(error: BaseException | None, tries: int) -> float | None:
    """How many seconds all must wait because the rate was too high; ``None`` where that is not the matter."""
    if isinstance(error, RateLimitError):
        return error.retry_after if error.retry_after is not None else 2.0**tries
    throttled = isinstance(error, ServerError) and error.code.startswith("Throttling")
    return 2.0**tries if throttled else None


def _may_pass(error: BaseException) -> bool:
    """Whether trying again makes sense."""
    if isinstance(error, HandshakeError):
        return error.status >= 500
    return isinstance(error, (ConnectError, ConnectionClosed, WaitTimeout, ProtocolError))


@contextmanager
def _shown(progress: Progress, total: int | None, what: str) -> Iterator[Callable[[int], object]]:
    """How progress is shown: not, by the user's function, or by a bar."""
    if callable(progress):
        show = progress
        yield lambda done: show(done, total)
    elif not progress:
        yield lambda _: None
    else:
        from rich.progress import Progress as Bar

        with Bar() as bar:
            row = bar.add_task(what, total=total)
            yield lambda done: bar.update(row, completed=done)
