"""What a batch does with one item: the job that workers run, and what is kept of its result.

Everything here that goes to a worker is at module level, so that any executor can send it by name.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec

from ..client import RealtimeClient
from ..errors import ConnectionClosed, RealtimeError
from ..events import Usage
from ..helpers import opened, synthesize, transcribe
from ..results import Speech, Transcript, Utterance
from ..sources import pcm_blocks

__all__ = ["Kind", "Synthesizing", "Transcribing", "break_off", "run_job"]

_at_work = threading.Lock()  # guards the two below, for an assignment
_clients: dict[str, list[RealtimeClient]] = {}  # of the jobs that run in this process, by run
_broken_off: set[str] = set()  # runs


def run_job(kind: str, item: Any, options: dict[str, Any], ticket: str) -> tuple[Any, BaseException | None]:
    """Do one item, on a worker; returns its result or its error.

    Args:
        kind: ``"transcribe"`` or ``"synthesize"``.
        item: a source, or a text.
        options: for the helper of that name.
        ticket: different for each job, since some executors do not do again what they think they have done; begins
            with the run.
    """
    try:
        with _closable(ticket.partition("-")[0]):
            return (transcribe(item, **options) if kind == "transcribe" else synthesize(item, **options)), None
    except Exception as error:  # noqa: BLE001 - the item's outcome
        own = isinstance(error, RealtimeError) or type(error).__module__ == "builtins"
        # others may not survive the way back between two processes
        return None, error if own else RealtimeError(f"{type(error).__name__}: {error}")


def break_off(run: str) -> list[threading.Thread]:
    """Close the sessions of a run whose results nobody waits for, as far as they are in this process.

    Does not wait: returns the threads that close them, ``qwen-batch-close``, each for ``close_timeout`` at most.
    """
    with _at_work:
        _broken_off.add(run)
        clients = list(_clients.get(run, ()))
    closing = [threading.Thread(target=client.close, name="qwen-batch-close", daemon=True) for client in clients]
    for thread in closing:
        thread.start()
    return closing


@contextmanager
def _closable(run: str) -> Iterator[None]:
    """Let :func:`break_off` close what is opened in the block."""
    mine: list[RealtimeClient] = []

    def note(client: RealtimeClient) -> None:
        with _at_work:
            if run in _broken_off:
                raise ConnectionClosed("the batch was broken off")
            _clients.setdefault(run, []).append(client)
        mine.append(client)

    token = opened.set(note)
    try:
        yield
    finally:
        opened.reset(token)
        with _at_work:
            left = [client for client in _clients.pop(run, ()) if client not in mine]
            if left:
                _clients[run] = left


class Kind(Protocol):
    """What transcribing and synthesising have different."""

    name: str

    def prepare(self) -> None:
        """Make what is needed before the first job."""

    def pack(self, item: Any) -> Any:
        """An item as it is sent to a worker, as often as need be."""

    def keep(self, index: int, result: Any) -> dict[str, Any]:
        """Save a result; returns what a manifest keeps of it."""

    def load(self, item: Any, kept: Mapping[str, Any]) -> Any:
        """A result from a run before; ``None`` where it is no longer there."""


class Transcribing:
    """Recordings into text: a manifest keeps all of it."""

    name = "transcribe"

    def prepare(self) -> None:
        """Nothing is needed."""

    def pack(self, item: Any) -> Any:
        """A stream is read to its end, and a path does not depend on the folder that the worker is in."""
        if isinstance(item, Iterator):
            return bytearray(b"".join(pcm_blocks(item, 16000)))
        if isinstance(item, memoryview):
            return bytearray(item)
        return os.path.abspath(os.fspath(item)) if isinstance(item, (str, os.PathLike)) else item

    def keep(self, index: int, result: Transcript) -> dict[str, Any]:  # noqa: ARG002
        """All of it, with the text first for people to read."""
        utterances = [utterance._asdict() for utterance in result.utterances]
        return {"text": result.text, "duration_ms": result.duration_ms, "utterances": utterances}

    def load(self, item: Any, kept: Mapping[str, Any]) -> Transcript:  # noqa: ARG002
        """Made of what was kept."""
        return Transcript(tuple(Utterance(**each) for each in kept["utterances"]), kept["duration_ms"])


class Synthesizing:
    """Texts into speech: it is kept in files.

    Args:
        out_dir: the folder; ``None`` for nowhere.
    """

    name = "synthesize"

    def __init__(self, out_dir: str | os.PathLike[str] | None) -> None:
        self._folder = os.fspath(out_dir) if out_dir is not None else None

    def prepare(self) -> None:
        """Make the folder."""
        if self._folder is not None:
            os.makedirs(self._folder, exist_ok=True)

    def pack(self, item: Any) -> Any:
        """Texts go as they are."""
        return item

    def keep(self, index: int, result: Speech) -> dict[str, Any]:
        """Write the file, whole or not at all."""
        if self._folder is None:
            return {}
        name = f"{index:05d}.{'wav' if result.format in ('pcm', 'wav') else result.format}"
        path = os.path.join(self._folder, name)
        result.save(path + ".part")
        os.replace(path + ".part", path)
        usage = msgspec.to_builtins(result.usage)
        return {"file": name, "sample_rate": result.sample_rate, "format": result.format, "usage": usage}

    def load(self, item: Any, kept: Mapping[str, Any]) -> Speech | None:
        """Read the file, where it is still there."""
        from ..audio.wav import read_wav

        path = os.path.join(self._folder or "", os.path.basename(kept["file"]))
        try:
            with open(path, "rb") as file:
                audio = file.read()
        except OSError:
            return None
        usage = msgspec.convert(kept["usage"], Usage) if kept["usage"] else None
        if kept["format"] == "pcm":
            audio = read_wav(audio).pcm
        return Speech(audio, kept["sample_rate"], format=kept["format"], text=str(item), usage=usage)
