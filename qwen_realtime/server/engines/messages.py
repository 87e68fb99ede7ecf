"""What goes through the pipes between the server and its workers: length-prefixed msgpack, nothing executable.

A frame is four bytes of length, big endian, then one tagged msgpack map. ``job`` names the listener or the
spoken text that a message belongs to; the server gives the numbers out.
"""

from __future__ import annotations

from typing import BinaryIO, TypeAlias

import msgspec

from .types import Domain, ListenResult, TurnDetection

MAX_FRAME_BYTES = 64 * 1024 * 1024


class Speak(msgspec.Struct, frozen=True, tag=True):
    """Speak a text."""

    job: int
    text: str
    voice: str
    language: str
    sample_rate: int
    rate: float
    pitch: float
    volume: int


class Listen(msgspec.Struct, frozen=True, tag=True):
    """Open a listener; ``clock_ms`` is where its clock stands (not zero after a restart)."""

    job: int
    sample_rate: int
    turn_detection: TurnDetection | None
    language: str | None
    domain: Domain
    transcribe: bool
    clock_ms: int = 0


class Feed(msgspec.Struct, frozen=True, tag=True):
    """Sound for a listener: whole samples, s16le mono."""

    job: int
    pcm: bytes


class Commit(msgspec.Struct, frozen=True, tag=True):
    """End the utterance of a manual listener."""

    job: int


class Clear(msgspec.Struct, frozen=True, tag=True):
    """Forget the sound that no final result covers yet."""

    job: int


class Finish(msgspec.Struct, frozen=True, tag=True):
    """Nothing more will be fed: end an open utterance and report ``Flushed``."""

    job: int


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Drop a job, whatever it is doing."""

    job: int


class WarmUp(msgspec.Struct, frozen=True, tag=True):
    """Load what the first real job would load, and answer ``Done``."""

    job: int


class Audio(msgspec.Struct, frozen=True, tag=True):
    """A piece of spoken text, s16le mono at the rate that was asked for."""

    job: int
    pcm: bytes


class Done(msgspec.Struct, frozen=True, tag=True):
    """A spoken text or a warm-up is complete; ``error`` is empty, or says why it failed."""

    job: int
    error: str = ""


class Heard(msgspec.Struct, frozen=True, tag=True):
    """One result of a listener."""

    job: int
    result: ListenResult


Request: TypeAlias = Speak | Listen | Feed | Commit | Clear | Finish | Stop | WarmUp
Answer: TypeAlias = Audio | Done | Heard

_encoder = msgspec.msgpack.Encoder()
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answer_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def pack(message: Request | Answer) -> bytes:
    """Return a message as one frame."""
    body = _encoder.encode(message)
    return len(body).to_bytes(4, "big") + body


def _read_frame(stream: BinaryIO) -> bytes | None:
    head = stream.read(4)
    if len(head) < 4:
        return None
    length = int.from_bytes(head, "big")
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes: the pipe is out of step")
    body = stream.read(length)
    return body if len(body) == length else None


def read_request(stream: BinaryIO) -> Request | None:
    """Read the next request; blocks until it is there. ``None`` at the end of the pipe."""
    body = _read_frame(stream)
    return None if body is None else _request_decoder.decode(body)


def read_answer(stream: BinaryIO) -> Answer | None:
    """Read the next answer; blocks until it is there. ``None`` at the end of the pipe."""
    body = _read_frame(stream)
    return None if body is None else _answer_decoder.decode(body)
