"""Apertium kept running: each stage of a mode as a process, texts separated by a null byte. 3 ms a sentence.

The stages end by themselves when the first one's stdin does, so they do not outlive the server.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import BinaryIO, cast

from qwen_realtime.errors import RealtimeError

_MODE_FOLDERS = (Path("/usr/share/apertium/modes"), Path("/usr/local/share/apertium/modes"))
_TAKES_NULL_FLUSH = frozenset(
    {
        "lt-proc",
        "lrx-proc",
        "apertium-tagger",
        "apertium-pretransfer",
        "apertium-transfer",
        "apertium-interchunk",
        "apertium-postchunk",
        "cg-proc",
        "lsx-proc",
        "apertium-anaphora",
    }
)
_SPECIAL = re.compile(r"([\\^$/\[\]{}<>@~*#+])")
_DEADLINE_SECONDS = 5.0
# A "superblank": it goes through all stages unchanged and makes them see the end of a sentence.
_TEXT_END = b"[][\n]"


def find_mode(source: str, target: str) -> list[list[str]] | None:
    """Return the stages (argument lists) of a language pair, three-letter codes, or ``None`` if it cannot run here."""
    for folder in _MODE_FOLDERS:
        path = folder / f"{source}-{target}.mode"
        if path.is_file():
            return parse_mode(path.read_text(encoding="utf-8"))
    return None


def parse_mode(text: str) -> list[list[str]] | None:
    """Return the stages of a mode file with null flush added, or ``None`` if one cannot be flushed or is missing."""
    stages: list[list[str]] = []
    for stage in text.strip().split("|"):
        # $1 is how the generator treats unknown words: -n writes them without a mark. $2 is for tracing.
        words = [{"$1": "-n"}.get(word, word) for word in shlex.split(stage) if word != "$2"]
        if not words or words[0] not in _TAKES_NULL_FLUSH or shutil.which(words[0]) is None:
            return None
        stages.append([words[0], "-z", *words[1:]])
    return stages


class ResidentPair:
    """One direction of a language pair. Started at its first use, started again when it dies or hangs."""

    def __init__(self, stages: list[list[str]]) -> None:
        self._stages = stages
        # Guards the processes and keeps question and answer together; held for 5 s at most.
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The process ids of the running stages."""
        with self._lock:
            return [process.pid for process in self._processes]

    def translate(self, text: str) -> str:
        """Translate a text; blocks for milliseconds, and 5 s at most, then raises ``RealtimeError``."""
        question = _SPECIAL.sub(r"\\\1", text.replace("\0", " ")).encode("utf-8")
        deadline = time.monotonic() + _DEADLINE_SECONDS
        with self._lock:
            if self._closed:
                raise RealtimeError("the translator is closed")
            # A stage that died since the last text, or dies now, costs one more try.
            for last_try in (False, True):
                try:
                    if not self._processes:
                        self._start()
                    return self._ask(question, deadline)
                except (OSError, RealtimeError) as error:
                    self._end()
                    if last_try or time.monotonic() > deadline:
                        raise RealtimeError(f"Apertium failed: {error}") from error
            raise AssertionError("unreachable")

    def _start(self) -> None:
        stdin: int | BinaryIO = subprocess.PIPE
        for stage in self._stages:
            process = subprocess.Popen(  # noqa: S603 - stages of an installed mode, checked by parse_mode
                stage, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, bufsize=0
            )
            if self._processes:
                # Only the neighbours may hold a pipe, or its end would never be seen.
                cast("BinaryIO", self._processes[-1].stdout).close()
            self._processes.append(process)
            stdin = cast("BinaryIO", process.stdout)
        os.set_blocking(cast("BinaryIO", self._processes[0].stdin).fileno(), False)

    def _ask(self, question: bytes, deadline: float) -> str:
        stdin = cast("BinaryIO", self._processes[0].stdin).fileno()
        stdout = cast("BinaryIO", self._processes[-1].stdout).fileno()
        unsent = memoryview(question + _TEXT_END + b"\0")
        answer = bytearray()
        while not answer.endswith(b"\0"):
            left = deadline - time.monotonic()
            readable, writable, _ = select.select([stdout], [stdin] if unsent else [], [], max(0.0, left))
            if not readable and not writable:
                raise RealtimeError(f"no answer within {_DEADLINE_SECONDS:.0f} s")
            if writable:
                unsent = unsent[os.write(stdin, unsent) :]
            if readable:
                piece = os.read(stdout, 65536)
                if not piece:
                    raise RealtimeError("a stage ended")
                answer += piece
        # Stages whose neighbour has died flush an empty answer before they end.
        if _TEXT_END not in answer:
            raise RealtimeError("a stage ended")
        plain = answer.rstrip(b"\0").replace(_TEXT_END, b"").decode("utf-8", "replace")
        return re.sub(r"\\(.)", r"\1", plain, flags=re.DOTALL).strip()

    def _end(self) -> None:
        for process in self._processes:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            process.kill()
            process.wait()
        self._processes = []

    def close(self) -> None:
        """End the stages. Idempotent; waits for a translation in progress."""
        with self._lock:
            self._closed = True
            self._end()
