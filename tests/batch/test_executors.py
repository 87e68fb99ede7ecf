"""Clusters behind ``concurrent.futures.Executor``: Ray's and Celery's as the docstring makes them, on stand-ins."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qwen_realtime import RateLimit, transcribe_many
from qwen_realtime.errors import ConfigError
from qwen_realtime.results import Transcript

from ..batch_on_clusters import documented
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
        return lambda function: SimpleNamespace(remote=lambda *args: start((function, args, {})))

    return SimpleNamespace(remote=remote)


def as_celery(cluster: Cluster) -> Any:
    """What the documented lines need of a Celery application."""

    def task(function: Callable[..., Any]) -> Any:
        def apply_async(arguments: Sequence[Any], *, expires: float) -> Any:
            answers: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()
            cluster.put((function, arguments, {}), lambda result, error: answers.put((result, error)))

            def get(*, timeout: float) -> Any:
                assert timeout == expires
                result, error = answers.get(timeout=timeout)
                if isinstance(error, Unheard):
                    result, error = answers.get(timeout=timeout)
                if error is not None:
                    raise error
                return result

            return SimpleNamespace(get=get, forget=lambda: None)

        return SimpleNamespace(apply_async=apply_async)

    return SimpleNamespace(task=task)


class Unheard(Exception):
    """A machine was lost, and nobody says so."""


def executor_of(name: str, cluster: Cluster, seconds: str = "600") -> Executor:
    """Made by the lines of the docstring of ``transcribe_many``."""
    names: dict[str, Any] = {"Executor": Executor, "Future": Future, "Thread": threading.Thread}
    names |= {"ray": as_ray(cluster), "app": as_celery(cluster)}
    exec(documented(name).replace("600", seconds), names)  # noqa: S102 - our own lines
    made: Executor = names[name]()
    return made


NAMES = ["RayExecutor", "CeleryExecutor"]


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    """Sixteen recordings that the stand-in tells apart."""
    return write_recordings(tmp_path, 16)


@pytest.mark.parametrize("name", NAMES)
def test_the_documented_executors_work(cluster: Callable[..., Cluster], recordings: list[str], name: str) -> None:
    """All is transcribed once, jobs wait with us and not in the cluster, and the rate is held over its workers."""
    workers = cluster(3)
    with executor_of(name, workers) as executor, Recogniser() as service:
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


@pytest.mark.parametrize("name", NAMES)
def test_a_worker_that_is_lost_loses_no_item(cluster: Callable[..., Cluster], recordings: list[str], name: str) -> None:
    """What the cluster reports as lost is done by another worker, once."""
    lost = iter([True, False, False, True])

    def work(call: Call) -> Any:
        if next(lost, False):
            raise ConnectionResetError("the worker died")
        return call[0](*call[1], **call[2])

    with executor_of(name, cluster(2, work)) as executor, Recogniser() as service:
        outcomes = list(transcribe_many(recordings, executor=executor, in_flight=2, url=service.url, api_key="k"))
    assert sorted(outcome.index for outcome in outcomes) == list(range(16))
    assert all(outcome.error is None for outcome in outcomes)
    assert sorted(service.completed) == list(range(16))


def test_a_machine_that_is_lost_without_a_word_loses_no_item(
    cluster: Callable[..., Cluster], recordings: list[str]
) -> None:
    """What Celery never says anything of again is done by another worker, once."""
    lost = iter([True, False, True])

    def work(call: Call) -> Any:
        if next(lost, False):
            raise Unheard
        return call[0](*call[1], **call[2])

    executor = executor_of("CeleryExecutor", cluster(2, work), "2")
    with Recogniser() as service:
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
        function, arguments, _ = call
        if Path(arguments[1][1]).read_bytes()[:16] == bad.read_bytes()[:16]:
            return function(*arguments)
        return Transcript((), 100), None

    executor = executor_of("RayExecutor", cluster(4, work))
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
