"""Many recordings or texts: on any executor, at a rate that is held in one place, and resumable."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from typing import Any

from ..errors import ConfigError
from ..families import ASRClient, TTSClient
from ..results import Speech, Transcript
from ..sources import AudioSource
from .jobs import Synthesizing, Transcribing
from .run import Outcome, Progress, Run
from .throttle import RateLimit

__all__ = ["Outcome", "RateLimit", "synthesize_many", "transcribe_many"]


def transcribe_many(
    sources: Iterable[AudioSource],
    *,
    executor: Executor | None = None,
    rate_limit: RateLimit | None = None,
    manifest: str | os.PathLike[str] | None = None,
    progress: Progress = None,
    retries: int = 3,
    in_flight: int | None = None,
    language: str | None = None,
    **client_kw: Any,
) -> Iterator[Outcome[Transcript]]:
    """Turn recordings into text; yields each as it is ready, in no particular order.

    ::

        for outcome in transcribe_many(glob("*.wav"), rate_limit=RateLimit(60), manifest="run.jsonl", language="en"):
            print(outcome.source, outcome.error or outcome.result.text)

    Work is handed out while the caller waits for the next outcome, so a slow loop body holds it up. Leaving the loop
    ends the run: what has not begun is cancelled. An item that fails is an outcome with an ``error``; the rest goes on.

    On several machines, pass Dask's ``client.get_executor()``, or make an executor of what you have, which takes a few
    lines, and say by ``in_flight`` how many jobs it can do at a time. With Ray::

        @ray.remote(max_retries=0)
        def call(fn, args, kwargs):
            return fn(*args, **kwargs)

        class RayExecutor(Executor):
            def submit(self, fn, /, *args, **kwargs):
                return call.remote(fn, args, kwargs).future()

    With Celery, whose serializers for tasks and results must take Python's objects (``"pickle"``). It reports a worker
    process that was killed, but not a machine that is gone; so a job of which nothing is heard for 600 seconds counts
    as lost, and none may take as long::

        @app.task
        def call(fn, args, kwargs):
            return fn(*args, **kwargs)

        class CeleryExecutor(Executor):
            def submit(self, fn, /, *args, **kwargs):
                job, future = call.apply_async((fn, args, kwargs), expires=600), Future()
                future.set_running_or_notify_cancel()
                Thread(target=self.wait, args=(job, future), daemon=True).start()
                return future

            def wait(self, job, future):
                try:
                    future.set_result(job.get(timeout=600))
                except Exception as error:
                    future.set_exception(error)
                else:
                    job.forget()

    Args:
        sources: as for :func:`~.helpers.transcribe`. Paths are opened by the workers, so on several machines they must
            mean the same file on each; else pass the files' bytes.
        executor: any :class:`concurrent.futures.Executor`, of which only ``submit`` is used, and which stays open;
            default a thread pool of eight. A future that fails means a lost worker: its job is handed out again. A
            process pool that breaks because a worker died is replaced for the rest of the run by one like it.
        rate_limit: holds over all workers; retries count too. (What Dask runs again by itself does not: set its
            ``distributed.scheduler.allowed-failures`` to 0 to leave that to this function.)
        manifest: a file that makes the run resumable: the same call, after a crash, yields what was done from this
            file and does the rest. The sources are read into a list then.
        progress: called with how many items are done and how many there are (``None`` where nobody knows), on the
            caller's thread; ``True`` for a progress bar, which needs rich.
        retries: how often an item is tried again after a failure that may pass: a worker or connection was lost. A
            refusal because of the rate makes all wait as long as the server says, and counts only where nobody got
            through since.
        in_flight: jobs at a time; default the number of workers, where the executor tells it as the standard
            library's and Dask's do, else eight.
        language: the language spoken.
        client_kw: for :class:`~.families.ASRClient`, and ``pace``. A callable ``api_key`` is asked here, for each job;
            the key travels to the worker.

    Raises:
        ConfigError: at once, for arguments and settings that cannot be, and a manifest of another run.
        OSError: while iterating, when the manifest cannot be written.
    """
    if language is not None:
        transcription = client_kw.get("input_audio_transcription") or {}
        client_kw["input_audio_transcription"] = {**transcription, "language": language}
    settings = {key: value for key, value in client_kw.items() if key != "pace"}
    run = Run(Transcribing(), sources, executor, rate_limit, progress, retries, in_flight, client_kw)
    run.prepare(ASRClient, settings, manifest)
    return run.outcomes()


def synthesize_many(
    texts: Iterable[str],
    *,
    out_dir: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    rate_limit: RateLimit | None = None,
    manifest: str | os.PathLike[str] | None = None,
    progress: Progress = None,
    retries: int = 3,
    in_flight: int | None = None,
    **client_kw: Any,
) -> Iterator[Outcome[Speech]]:
    """Turn texts into speech; yields each as it is ready, in no particular order.

    See :func:`transcribe_many`, which this is like.

    Args:
        texts: what to say.
        out_dir: a folder for the speech, which is made; ``00000.wav`` is the first text's. Written by the caller's
            process, each file as a whole. A manifest needs it.
        executor: where the work is done.
        rate_limit: over all workers.
        manifest: makes the run resumable.
        progress: a function, or ``True`` for a bar.
        retries: of each text.
        in_flight: jobs at a time.
        client_kw: ``voice`` and everything else for :class:`~.families.TTSClient`.

    Raises:
        ConfigError: at once, for arguments and settings that cannot be, and a manifest of another run.
        OSError: while iterating, when a file cannot be written.
    """
    if manifest is not None and out_dir is None:
        raise ConfigError("a manifest needs out_dir, where the speech of the run before is found")
    run = Run(Synthesizing(out_dir), texts, executor, rate_limit, progress, retries, in_flight, client_kw)
    run.prepare(TTSClient, client_kw, manifest)
    return run.outcomes()
