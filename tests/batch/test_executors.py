"""Clusters behind ``concurrent.futures.Executor``: Ray's and Celery's as the docstring makes them, on stand-ins."""

from __future__ import annotations

import inspect
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qwen_realtime import RateLimit, transcribe_many
from qwen_realtime.errors import ConfigError
from qwen_realtime.results import Transcript

from ..batch_on_dask import Recogniser, write_recordings

PATIENCE_S = 20.0

Call = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]


class Cluster:
    """Workers that take calls from a queue; knows nothing of executors.

    Args:
        workers: threads.
        work: does a call in place of the function that is called.

    Attributes:
        waiting: the most calls that ever waited for a worker.
    """

    def __init__(self, workers: int, work: Callable[[Call], Any] = lambda call: call[0](*call[1], **call[2])) -> None:
        self._calls: queue.Queue[tuple[Call, Callable[[Any, BaseException | None], None]] | None] = queue.Queue()
        self._work = work
        self.waiting = 0
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def put(self, call: Call, answer: Callable[[Any, BaseException | None], None]) -> None:
        """Have a call done; the answer comes on a thread of the cluster."""
        self._calls.put((call, answer))
        self.waiting = max(self.waiting, self._calls.qsize())

    def _run(self) -> None:
        while (taken := self._calls.get()) is not None:
            call, answer = taken
            try:
                result = self._work(call)
            except BaseException as error:  # noqa: BLE001 - it is the answer
                answer(None, error)
            else:
                answer(result, None)

    def close(self) -> None:
        """End the workers."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join(PATIENCE_S)


@pytest.fixture
def cluster() -> Iterator[Callable[..., Cluster]]:
    """Make clusters, which end with the test."""
    made: list[Cluster] = []

    def make(*arguments: Any) -> Cluster:
        made.append(Cluster(*arguments))
        return made[-1]

    yield make
    for each in made:
        each.close()


def as_ray(cluster: Cluster) -> Any:
    """What the documented lines need of the module ``ray``."""

    def start(call: Call) -> Any:
        future: Future[Any] = Future()

        def answer(result: Any, error: BaseException | None) -> None:
            if not future.done():
                future.set_exception(error) if error is not None else future.set_result(result)

        cluster.put(call, answer)
        return SimpleNamespace(future=lambda: future)

    def remote(*, max_retries: int) -> Callable[[Callable[..., Any]], Any]:
        assert max_retries == 0
        return lambda function: SimpleNamespace(remote=lambda *args, **kwargs: start((function, args, kwargs)))

    return SimpleNamespace(remote=remote)


def as_celery(cluster: Cluster) -> Any:
    """What the documented lines need of a Celery application."""

    def task(function: Callable[..., Any]) -> Any:
        def delay(*arguments: Any) -> Any:
            answers: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()
            cluster.put((function, arguments, {}), lambda result, error: answers.put((result, error)))

            def get() -> Any:
                result, error = answers.get(timeout=PATIENCE_S)
                if error is not None:
                    raise error
                return result

            return SimpleNamespace(get=get)

        return SimpleNamespace(delay=delay)

    return SimpleNamespace(task=task)


class RayExecutor(Executor):
    """As the docstring of ``transcribe_many`` makes it."""

    def __init__(self, cluster: Cluster) -> None:
        self._ray = as_ray(cluster)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a function called by the cluster."""
        ray = self._ray
        return ray.remote(max_retries=0)(fn).remote(*args, **kwargs).future()  # type: ignore[no-any-return]


class CeleryExecutor(Executor):
    """As the docstring of ``transcribe_many`` makes it."""

    def __init__(self, cluster: Cluster) -> None:
        self.waiting = ThreadPoolExecutor(64)
        self._call = as_celery(cluster).task(lambda fn, args, kwargs: fn(*args, **kwargs))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a function called by the cluster."""
        call = self._call
        return self.waiting.submit(call.delay(fn, args, kwargs).get)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads that wait."""
        self.waiting.shutdown(wait, cancel_futures=cancel_futures)


MAKES: list[Any] = [RayExecutor, CeleryExecutor]


@pytest.mark.parametrize("make", MAKES)
def test_these_are_the_documented_ones(make: Any) -> None:
    """The line that does it is in the docstring, word for word."""
    (line,) = re.findall(r"return (.*\))", inspect.getsource(make.submit))
    assert f"class {make.__name__}(Executor):" in (transcribe_many.__doc__ or "")
    assert line in (transcribe_many.__doc__ or "")


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    """Sixteen recordings that the stand-in tells apart."""
    return write_recordings(tmp_path, 16)


@pytest.mark.parametrize("make", MAKES)
def test_the_documented_executors_work(cluster: Callable[..., Cluster], recordings: list[str], make: Any) -> None:
    """All is transcribed once, jobs wait with us and not in the cluster, and the rate is held over its workers."""
    workers = cluster(3)
    with make(workers) as executor, Recogniser() as service:
        began = time.monotonic()
        outcomes = transcribe_many(
            recordings, executor=executor, in_flight=3, rate_limit=RateLimit(20, 1.0), url=service.url, api_key="k"
        )
        texts = sorted(outcome.result.text for outcome in outcomes if outcome.result is not None)
        seconds = time.monotonic() - began
    assert texts == sorted(f"number {number}" for number in range(16))
    assert sorted(service.completed) == list(range(16))
    assert workers.waiting <= 1
    assert seconds >= 15 / 20
    times = sorted(service.begun)
    assert (len(times) - 1) / (times[-1] - times[0]) <= 1.05 * 20


@pytest.mark.parametrize("make", MAKES)
def test_a_worker_that_is_lost_loses_no_item(cluster: Callable[..., Cluster], recordings: list[str], make: Any) -> None:
    """What the cluster reports as lost is done by another worker, once."""
    lost = iter([True, False, False, True])

    def work(call: Call) -> Any:
        if next(lost, False):
            raise ConnectionResetError("the worker died")
        return call[0](*call[1], **call[2])

    with make(cluster(2, work)) as executor, Recogniser() as service:
        outcomes = list(transcribe_many(recordings, executor=executor, in_flight=2, url=service.url, api_key="k"))
    assert sorted(outcome.index for outcome in outcomes) == list(range(16))
    assert all(outcome.error is None for outcome in outcomes)
    assert sorted(service.completed) == list(range(16))


def test_one_unreadable_file_among_a_thousand_is_recorded(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Its outcome has the error and its name, also in the manifest; the 999 others have their text."""
    (good,) = write_recordings(tmp_path, 1)
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF not really")
    sources = [good] * 1000
    sources[637] = str(bad)

    def work(call: Call) -> Any:
        function, (kind, item, options, ticket), named = call
        if Path(item).read_bytes()[:16] == bad.read_bytes()[:16]:
            return function(kind, item, options, ticket, **named)
        return Transcript((), 100), None

    executor = RayExecutor(cluster(4, work))
    manifest = tmp_path / "run.jsonl"
    with Recogniser() as service:
        where: dict[str, Any] = {"url": service.url, "api_key": "k"}
        outcomes = list(transcribe_many(sources, executor=executor, in_flight=4, manifest=manifest, **where))
    assert len(outcomes) == 1000
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    assert [(each.index, each.source, type(each.error)) for each in failed] == [(637, str(bad), ConfigError)]
    lines = [line for line in manifest.read_text("utf-8").splitlines() if '"error"' in line]
    assert len(lines) == 1
    assert "bad.wav" in lines[0]
