"""Recordings through a real Ray or Celery, a worker of which is killed: python -m tests.batch_on_clusters ray.

Neither is a dependency: ``pip install ray`` or ``pip install celery``. The executors are the lines of the docstring of
``transcribe_many``, word for word but for Celery's 600 seconds, which are 6 here; the service is a stand-in. What must
hold is checked, what is measured is printed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from qwen_realtime import RateLimit, transcribe_many

from .batch_on_dask import Killer, Recogniser, largest_in_any, write_recordings

WORKERS = 2
PATIENCE_S = 30.0

TASKS = """
from concurrent.futures import Executor, Future
from threading import Thread
from celery import Celery

app = Celery("documented", broker={broker!r}, backend={backend!r})
app.conf.update(task_serializer="pickle", result_serializer="pickle", accept_content=["pickle", "json"])
app.conf.update(broker_transport_options={transport!r}, broker_connection_retry_on_startup=True)

"""


class Cluster(NamedTuple):
    """A cluster that runs.

    Attributes:
        executor: the documented one.
        kills: what can be killed, by name: functions that tell the pid when both workers are at work.
    """

    executor: Executor
    kills: dict[str, Callable[[], int]]


def documented(name: str) -> str:
    """The lines of the docstring that make an executor."""
    blocks = re.findall(r"::\n\n((?: {8}.*\n|\n)+)", transcribe_many.__doc__ or "")
    (block,) = [block for block in blocks if f"class {name}(Executor)" in block]
    return textwrap.dedent(block)


def children_of(pid: int) -> dict[int, str]:
    """Processes below another, with their command lines."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,command="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    found: dict[int, str] = {}
    for child, command in [(int(row[0]), row[-1]) for row in rows if int(row[1]) == pid]:
        found |= {child: command, **children_of(child)}
    return found


@contextmanager
def ray_cluster(_: argparse.Namespace, __: Path) -> Iterator[Cluster]:
    """Ray on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = importlib.import_module("ray")
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="error")
    names: dict[str, Any] = {"__name__": "__main__", "Executor": Executor, "ray": ray}
    exec(documented("RayExecutor"), names)  # noqa: S102 - our own lines

    def at_work() -> int:
        return next(pid for pid, command in children_of(os.getpid()).items() if command.startswith("ray::call"))

    try:
        yield Cluster(names["RayExecutor"](), {"process": at_work})
    finally:
        ray.shutdown()


class CeleryWorker:
    """Celery's worker, a process with two more below it.

    Args:
        folder: where the module with the application is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "celery", "-A", "documented", "worker", "-c", str(WORKERS), "-l", "CRITICAL"]
        self._process = subprocess.Popen(
            [*command, "--without-gossip", "--without-mingle"],
            cwd=self._folder,
            env={**os.environ, "C_FORCE_ROOT": "1"},  # for containers
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def child(self) -> int:
        """The pid of one that does the work."""
        return next(iter(children_of(self._process.pid)))

    def replaced(self) -> int:
        """The pid of the one above, after those below it were killed, and another worker was started."""
        lost = self._process
        for pid in children_of(lost.pid):
            os.kill(pid, signal.SIGKILL)
        self._start()
        return lost.pid

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(PATIENCE_S)


def write_tasks(folder: Path, redis: str) -> None:
    """The module of the application; its broker is the folder, if it is not Redis."""
    how = {"broker": redis, "backend": redis, "transport": {}}
    if not redis:
        queue, control, results = (str(folder / name) for name in ("queue", "control", "results"))
        for name in (queue, control, results):
            os.mkdir(name)
        transport = {"data_folder_in": queue, "data_folder_out": queue, "control_folder": control}
        how = {"broker": "filesystem://", "backend": f"file://{results}", "transport": transport}
    lines = documented("CeleryExecutor").replace("600", "6")
    (folder / "documented.py").write_text(TASKS.format(**how) + lines, "utf-8")


@contextmanager
def celery_cluster(options: argparse.Namespace, folder: Path) -> Iterator[Cluster]:
    """Celery with a worker on this machine."""
    write_tasks(folder, options.redis)
    sys.path.insert(0, str(folder))
    tasks = importlib.import_module("documented")
    worker = CeleryWorker(folder)
    try:
        yield Cluster(tasks.CeleryExecutor(), {"process": worker.child, "worker": worker.replaced})
    finally:
        worker.close()


def killed(cluster: Cluster, pid: Callable[[], int], recordings: list[str], rate: float) -> dict[str, float]:
    """Transcribe all, with a worker killed half-way; returns the figures."""
    count = len(recordings)
    with Recogniser(Killer(pid, count // 2)) as service:
        where: dict[str, Any] = {"url": service.url, "api_key": "k", "in_flight": WORKERS}
        began = time.monotonic()
        outcomes = list(
            transcribe_many(recordings, executor=cluster.executor, rate_limit=RateLimit(rate, 1.0), **where)
        )
        seconds = time.monotonic() - began
    times = service.begun
    heard = sorted((each.index, each.result.text if each.result is not None else each.error) for each in outcomes)
    assert heard == [(number, f"number {number}") for number in range(count)], heard
    assert sorted(service.completed) == list(range(count)), "a recording was transcribed twice"
    assert count < len(times) <= count + WORKERS, f"{len(times)} sessions"
    most = largest_in_any(times, 10 / rate)
    assert most <= 12, f"{most} sessions in the time of 10"
    return {"sessions": len(times), "completed": count, "most_in_10_intervals": most, "seconds": round(seconds, 2)}


def interrupted(cluster: Cluster, recordings: list[str]) -> dict[str, float]:
    """Press Ctrl-C while both workers are at work, and go on with something else."""
    at_work, go_on = threading.Barrier(WORKERS + 1), threading.Event()
    pressed: list[float] = []

    def hold(_: int) -> None:
        if not go_on.is_set():
            at_work.wait(PATIENCE_S)
            go_on.wait(PATIENCE_S)

    def press() -> None:
        at_work.wait(PATIENCE_S)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    with Recogniser(hold) as service:
        where: dict[str, Any] = {"url": service.url, "api_key": "k", "in_flight": WORKERS, "executor": cluster.executor}
        presser = threading.Thread(target=press)
        presser.start()
        try:
            list(transcribe_many(recordings, **where))
        except KeyboardInterrupt:
            seconds = time.monotonic() - pressed[0]
        presser.join()
        go_on.set()
        assert all(outcome.error is None for outcome in transcribe_many(recordings[:4], **where))
        assert len(service.begun) == WORKERS + 4, "what was broken off went on"
    return {"seconds_to_break_off": round(seconds, 5)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line; prints the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cluster", choices=["ray", "celery"])
    parser.add_argument("--recordings", type=int, default=40)
    parser.add_argument("--rate", type=float, default=0.0, help="jobs in a second; default what the broker can take")
    parser.add_argument("--redis", default="", help="Celery's broker and backend, as redis://; default files")
    options = parser.parse_args(arguments)
    make = ray_cluster if options.cluster == "ray" else celery_cluster
    through_files = options.cluster == "celery" and not options.redis  # looked at twice a second
    rate = options.rate or (1.5 if through_files else 5.0)
    with tempfile.TemporaryDirectory() as name, make(options, Path(name)) as cluster:
        recordings = write_recordings(Path(name), options.recordings)
        figures = {"interrupted": interrupted(cluster, recordings)}
        for what, pid in cluster.kills.items():
            figures[f"{what}_killed"] = killed(cluster, pid, recordings, rate)
    version = importlib.import_module(options.cluster).__version__
    print(json.dumps({options.cluster: version, **figures}))


if __name__ == "__main__":
    main(sys.argv[1:])
