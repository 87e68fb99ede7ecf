"""``Engines``: everything the local server hears, says, translates and answers with."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import datetime

from qwen_realtime.errors import ConfigError, RealtimeError, WaitTimeout

from . import discovery
from .dialogue import Dialogue
from .listener import Listener
from .messages import Answer, Audio, Done, Listen, Speak, WarmUp
from .process import Subscriber, WorkerProcess, new_job
from .translation import Translator
from .types import Domain, ListenResult, Translation, TurnDetection


class SpeechJob:
    """A text being spoken; made by ``Engines.synthesize``."""

    def __init__(
        self, worker: WorkerProcess, on_audio: Callable[[bytes], None], on_done: Callable[[str | None], None]
    ) -> None:
        self._worker = worker
        self._number = new_job()
        self._on_audio = on_audio
        self._on_done = on_done
        # Guards `_over`, and is held during `on_audio` so that none runs once cancel() has returned. Reentrant, so that
        # on_audio itself may cancel.
        self._lock = threading.RLock()
        self._over = False

    def _start(self, request: Speak) -> None:
        self._worker.subscribe(self._number, Subscriber(self._take, self._lose))
        try:
            self._worker.send(request)
        except RealtimeError as error:
            self._lose(str(error))

    def cancel(self) -> None:
        """Stop speaking: after this returns neither ``on_audio`` nor ``on_done`` is called. Idempotent, any thread.

        Blocks while an ``on_audio`` is running on another thread.
        """
        with self._lock:
            self._over = True
        self._worker.stop(self._number)

    def _take(self, answer: Answer) -> None:
        if isinstance(answer, Audio):
            with self._lock:
                if not self._over:
                    self._on_audio(answer.pcm)
        elif isinstance(answer, Done):
            self._end(answer.error or None)

    def _lose(self, why: str) -> None:
        self._end(why)

    def _end(self, error: str | None) -> None:
        self._worker.forget(self._number)
        with self._lock:
            was_over, self._over = self._over, True
        if not was_over:
            self._on_done(error)


class Engines:
    """The engines of one local server.

    Synthesis, voice activity and recognition run in worker processes, which start at first use (or by ``warm_up``), are
    replaced when they crash and end with ``close`` or with this process. Thread-safe. All callbacks run on a thread
    named ``qwen-engine-...`` that serves many jobs: they must not block.

    Args:
        speech: ``auto`` (the best that is installed), ``flite``, ``espeak`` or ``tones``.
        listening: ``auto``, ``pocketsphinx`` or ``tones`` (no recogniser; transcripts only tell how long speech was).
        translation: ``auto``, ``apertium`` or ``phrases``.
        workers: processes that listen; ``None`` is two, or one on a machine with one core. Sessions are shared out.

    Raises:
        ConfigError: an engine asked for by name is unknown or not installed; the hint installs it.
    """

    def __init__(
        self,
        *,
        speech: str = "auto",
        listening: str = "auto",
        translation: str = "auto",
        workers: int | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise ConfigError(f"{workers} workers cannot listen", hint="give at least 1")
        self._choice = discovery.choose(speech, listening, translation)
        self._speaking = WorkerProcess("speak", ["synthesis", self._choice.english, self._choice.other])
        self._listening = [
            WorkerProcess(f"listen-{number}", ["listening", self._choice.activity, self._choice.recogniser])
            for number in range(workers or min(2, os.cpu_count() or 1))
        ]
        # Makes choosing the least loaded worker and adding to its load one step.
        self._assigning = threading.Lock()
        self._translator = Translator(self._choice.translation)

    def describe(self) -> dict[str, str]:
        """Return, job by job, in plain words what does it."""
        return discovery.describe(self._choice)

    def warm_up(self, timeout: float = 30) -> None:
        """Start all workers and load their models; blocks until they are ready.

        Args:
            timeout: seconds.

        Raises:
            WaitTimeout: they were not ready in time.
            RealtimeError: an engine failed to load.
        """
        deadline = time.monotonic() + timeout
        waits = [_WarmUp(worker) for worker in (self._speaking, *self._listening)]
        for wait in waits:
            wait.finish(deadline)

    def synthesize(
        self,
        text: str,
        *,
        voice: str = "",
        language: str = "auto",
        sample_rate: int = 24000,
        rate: float = 1.0,
        pitch: float = 1.0,
        volume: int = 50,
        on_audio: Callable[[bytes], None],
        on_done: Callable[[str | None], None],
    ) -> SpeechJob:
        """Start speaking a text and return at once.

        Args:
            text: any length; what has no letter or digit gives no sound.
            voice: one of the service's names; most share the default voice, a few have another.
            language: a code or English name, or ``auto`` to guess it sentence by sentence.
            sample_rate: of the sound, Hz.
            rate: of speech; 2 is twice as fast. 0.25 to 4.
            pitch: 2 is an octave higher. 0.5 to 2.
            volume: 0 (silence) to 100 (6 dB up, clipped); 50 is unchanged.
            on_audio: takes s16le mono in chunks of about 100 ms, as fast as they are made.
            on_done: called once, with ``None`` after the last chunk, or with the reason why it failed (on the caller's
                thread, before this returns, if the engines are closed).
        """
        job = SpeechJob(self._speaking, on_audio, on_done)
        job._start(Speak(job._number, text, voice, language, sample_rate, rate, pitch, volume))
        return job

    def listen(
        self,
        *,
        sample_rate: int,
        turn_detection: TurnDetection | None,
        language: str | None = None,
        hints: str = "",
        domain: Domain = "general",
        transcribe: bool = True,
        on_result: Callable[[ListenResult], None],
    ) -> Listener:
        """Open a listener.

        Args:
            sample_rate: of what will be fed, Hz.
            turn_detection: how utterances end, or ``None``: only ``commit()`` ends them, and neither
                ``SpeechStarted`` nor ``SpeechStopped`` is reported.
            language: a code or English name; ``None`` and ``auto`` are English. The recogniser has English only:
                otherwise each utterance ends with ``Failed("unsupported_language")``.
            hints: text that is likely to be said; accepted, not used by these engines.
            domain: the stock language model, or the one of what the local dialogue can answer.
            transcribe: false reports only where speech starts and stops.
            on_result: takes the results, in order.
        """
        del hints
        with self._assigning:
            worker = min(self._listening, key=lambda worker: worker.load)
            return Listener(
                worker,
                Listen(
                    job=new_job(),
                    sample_rate=sample_rate,
                    turn_detection=turn_detection,
                    language=language,
                    domain=domain,
                    transcribe=transcribe,
                ),
                on_result,
            )

    def translate(self, text: str, *, source: str, target: str) -> Translation:
        """Translate a text; blocks for milliseconds (0.3 s the first time, 5 s at the very most).

        Args:
            text: any length.
            source: a language code or English name; ``auto`` guesses.
            target: a language code or English name.
        """
        return self._translator.translate(text, source=source, target=target)

    def dialogue(self, clock: Callable[[], datetime] | None = None) -> Dialogue:
        """Return a new conversation.

        Args:
            clock: tells the local time; ``None`` is the computer's.
        """
        return Dialogue(clock)

    def close(self) -> None:
        """End all workers and threads; what was pending is told so. A few seconds at the most, idempotent."""
        for worker in (self._speaking, *self._listening):
            worker.close()
        self._translator.close()


class _WarmUp:
    """One worker getting ready."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._number = new_job()
        self._done = threading.Event()
        self._error = ""
        worker.subscribe(self._number, Subscriber(self._take, self._end))
        worker.send(WarmUp(self._number))

    def _take(self, answer: Answer) -> None:
        if isinstance(answer, Done):
            self._end(answer.error)

    def _end(self, error: str) -> None:
        self._worker.forget(self._number)
        self._error = error
        self._done.set()

    def finish(self, deadline: float) -> None:
        if not self._done.wait(max(0.0, deadline - time.monotonic())):
            self._worker.forget(self._number)
            raise WaitTimeout(f"the engine {self._worker.name!r} was not ready in time")
        if self._error:
            raise RealtimeError(f"the engine {self._worker.name!r} failed to load: {self._error}")
