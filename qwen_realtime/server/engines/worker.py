"""A worker process: ``python -m qwen_realtime.server.engines.worker synthesis flite espeak``.

Requests come on stdin, answers go to stdout, both as frames (messages.py). The process ends when stdin does, so it
cannot outlive the server. The thread ``qwen-engine-requests`` reads; the main thread works through the jobs in turn,
one sentence or 100 ms of sound at a time, so that a long job does not hold up the others.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from typing import BinaryIO, Protocol, TypeAlias

from .languages import code
from .listening import Listening
from .messages import (
    Answer,
    Audio,
    Clear,
    Commit,
    Done,
    Feed,
    Finish,
    Heard,
    Listen,
    Request,
    Speak,
    WarmUp,
    pack,
    read_request,
)
from .recognition import Ear, PlaceholderEar, Recogniser
from .schedule import Schedule
from .speech_engines import SpeechFailed
from .synthesis import Synthesis
from .types import Failed
from .vad import EnergyActivity, SileroActivity

_SLICE_MS = 100


Steps: TypeAlias = Generator[None, None, bool]


class Job(Protocol):
    """The work behind one job number."""

    def take(self, request: Request) -> Steps:
        """Deal with one request; yields where other jobs may go first, returns true when the job is over."""

    def failure(self, number: int, why: str) -> Answer:
        """Return the answer that says that a request failed."""

    def close(self) -> None:
        """Let go of what the job holds."""


class SpeechJob:
    """One text being spoken."""

    def __init__(self, synthesis: Synthesis, outbox: Outbox) -> None:
        self._synthesis = synthesis
        self._outbox = outbox

    def take(self, request: Request) -> Steps:
        """Speak, sentence by sentence."""
        if isinstance(request, WarmUp):
            self._synthesis.warm_up()
        elif isinstance(request, Speak):
            for chunk in self._synthesis.speak(request):
                if chunk:
                    self._outbox.put(Audio(request.job, chunk))
                else:
                    yield
        self._outbox.put(Done(request.job))
        return True

    def failure(self, number: int, why: str) -> Answer:
        """Return the ``Done`` that says why."""
        return Done(number, why)

    def close(self) -> None:
        """Hold nothing."""


class ListeningJob:
    """One listener; ``Listen`` opens it."""

    def __init__(self, activity: str, recogniser: Recogniser | None, outbox: Outbox) -> None:
        self._activity = activity
        self._recogniser = recogniser
        self._outbox = outbox
        self._listening: Listening | None = None
        self._slice_bytes = 0

    def take(self, request: Request) -> Steps:
        """Listen, 100 ms at a time."""
        if isinstance(request, WarmUp):
            if self._recogniser is not None:
                self._recogniser.warm_up()
            if self._activity == "silero":
                SileroActivity()
            self._outbox.put(Done(request.job))
            return True
        if isinstance(request, Listen):
            self._open(request)
        elif self._listening is None:
            # A request that overtook the restart of its listener: the server has reported the loss.
            return False
        elif isinstance(request, Feed):
            for start in range(0, len(request.pcm), self._slice_bytes):
                self._listening.feed(request.pcm[start : start + self._slice_bytes])
                yield
        elif isinstance(request, Commit):
            self._listening.commit()
        elif isinstance(request, Clear):
            self._listening.clear()
        elif isinstance(request, Finish):
            self._listening.finish()
        return False

    def _open(self, request: Listen) -> None:
        language = "auto" if request.language is None else code(request.language)
        ear: Ear | None = None
        failure: Failed | None = None
        if request.transcribe:
            if self._recogniser is None:
                ear = PlaceholderEar()
            elif language in ("auto", "en"):
                ear = self._recogniser.ear(request.domain)
            else:
                failure = Failed(
                    "unsupported_language",
                    f"the local recogniser (PocketSphinx) has an English model only; it cannot transcribe {language!r}",
                )
        self._slice_bytes = max(1, request.sample_rate * _SLICE_MS // 1000) * 2
        self._listening = Listening(
            sample_rate=request.sample_rate,
            turn_detection=request.turn_detection,
            activity=SileroActivity() if self._activity == "silero" else EnergyActivity(),
            ear=ear,
            language="en" if language == "auto" else language,
            failure=failure,
            clock_ms=request.clock_ms,
            emit=lambda result: self._outbox.put(Heard(request.job, result)),
        )

    def failure(self, number: int, why: str) -> Answer:
        """Return a ``Failed`` result, or ``Done`` where no listener was opened."""
        return Heard(number, Failed("engine_failed", why)) if self._listening is not None else Done(number, why)

    def close(self) -> None:
        """Give the decoder back."""
        if self._listening is not None:
            self._listening.clear()


class Outbox:
    """Writes answers; the main thread only."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def put(self, answer: Answer) -> None:
        """Write one answer; blocks while the server does not read."""
        self._stream.write(pack(answer))
        self._stream.flush()


class Worker:
    """Runs the jobs of one kind."""

    def __init__(self, new_job: Callable[[], Job], schedule: Schedule, outbox: Outbox) -> None:
        self._new_job = new_job
        self._schedule = schedule
        self._outbox = outbox
        self._jobs: dict[int, Job] = {}
        self._running: dict[int, Steps] = {}

    def run(self) -> None:
        """Work until the requests end."""
        while (number := self._schedule.next()) is not None:
            try:
                more = self._step(number)
            except SpeechFailed as error:
                self._fail(number, str(error))
                more = True
            except Exception as error:  # noqa: BLE001 - one job's bug must not end the others
                traceback.print_exc()
                self._fail(number, f"{type(error).__name__}: {error}")
                more = True
            if more:
                self._schedule.again(number)

    def _step(self, number: int) -> bool:
        if self._schedule.stop_requested(number):
            self._end(number)
            return False
        running = self._running.get(number)
        if running is None:
            request = self._schedule.take(number)
            if request is None:
                return False
            job = self._jobs.get(number) or self._jobs.setdefault(number, self._new_job())
            running = self._running[number] = job.take(request)
        try:
            next(running)
        except StopIteration as end:
            del self._running[number]
            if end.value:
                self._end(number)
                return False
        return True

    def _end(self, number: int) -> None:
        self._schedule.forget(number)
        self._running.pop(number, None)
        if (job := self._jobs.pop(number, None)) is not None:
            job.close()

    def _fail(self, number: int, why: str) -> None:
        self._running.pop(number, None)
        answer = self._jobs[number].failure(number, why)
        self._outbox.put(answer)
        if isinstance(answer, Done):
            self._end(number)


def main(arguments: list[str]) -> None:
    """Serve requests until stdin ends.

    Args:
        arguments: ``synthesis ENGLISH OTHER`` or ``listening ACTIVITY RECOGNISER``.
    """
    requests = os.fdopen(os.dup(0), "rb")
    outbox = Outbox(os.fdopen(os.dup(1), "wb"))
    # What a library prints must not get between the frames.
    os.dup2(2, 1)
    kind, first, second = arguments
    new_job: Callable[[], Job]
    if kind == "synthesis":
        synthesis = Synthesis(first, second)

        def new_job() -> Job:
            return SpeechJob(synthesis, outbox)

    else:
        recogniser = Recogniser() if second == "pocketsphinx" else None

        def new_job() -> Job:
            return ListeningJob(first, recogniser, outbox)

    schedule = Schedule()
    threading.Thread(target=_read, args=(requests, schedule), name="qwen-engine-requests", daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        Worker(new_job, schedule, outbox).run()
    # Not by way of the interpreter's farewells: the reading thread and the libraries' own have nothing to save.
    os._exit(0)


def _read(requests: BinaryIO, schedule: Schedule) -> None:
    """Read requests until the pipe ends; blocks on the pipe, and in ``put`` while too much is waiting."""
    try:
        while (request := read_request(requests)) is not None:
            schedule.put(request)
    finally:
        schedule.end()


if __name__ == "__main__":
    main(sys.argv[1:])
