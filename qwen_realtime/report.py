"""A trace as one self-contained HTML page: sound, events, captions and waits on a common time axis.

This module works out what happened; the page beside it (``report.html``) draws it, in the browser, without a network.
"""

from __future__ import annotations

import html
import os
from bisect import bisect_left
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from .metrics import Metrics, TurnMetrics
from .recording import Line, Recording, read_trace
from .results import Speech
from .settings import input_rate, output_rate, profile_of
from .trace import AUDIO_DELTA

__all__ = ["report_data", "write_report"]

_APPEND = "input_audio_buffer.append"
_HEARD = "conversation.item.input_audio_transcription.completed"
_SAID = {"response.audio_transcript.done": "transcript", "response.text.done": "text"}
_ASKING = {"input_audio_buffer.commit", "response.create", "conversation.item.create"}
_FIRST_TEXT = {
    *("response.text.delta", "response.text.text", "response.audio_transcript.delta", "response.audio_transcript.text")
}

# Sound that arrives so far from where its predecessor ended begins anew on the time axis.
JITTER_S = 0.25
PEAK_MS = 10
SUMMARY = 160
RAW = 4000


def write_report(
    trace: str | os.PathLike[str] | Recording, path: str | os.PathLike[str], *, with_audio: bool = True
) -> int:
    """Write the page; blocks on the disk.

    Args:
        trace: the path of a trace, or one that was read.
        path: the page, replaced if it exists.
        with_audio: put the sound in, so that it can be played; a minute both ways is about 6 MB.

    Returns:
        The size of the page in bytes.

    Raises:
        ConfigError: the trace cannot be read.
        OSError: the page cannot be written.
    """
    recording = trace if isinstance(trace, Recording) else read_trace(trace)
    data, sounds = report_data(recording)
    page = files(__package__ or "qwen_realtime").joinpath("report.html").read_text(encoding="utf-8")
    players = "".join(
        f'<audio id="{side}-audio" preload="none" src="data:audio/wav;base64,{_base64(speech.wav())}"></audio>'
        for side, speech in sounds.items()
        if with_audio and speech.pcm
    )
    # "</script>" and "<!--" inside a text would end the script that holds it
    packed = msgspec.json.encode(data).decode().replace("<", "\\u003c")
    title = html.escape(f"{data['title']} – {recording.path.name}")
    page = page.replace("@@TITLE@@", title).replace("@@AUDIO@@", players).replace("@@DATA@@", packed)
    return Path(path).write_bytes(page.encode())


def _base64(data: bytes) -> str:
    text: str = msgspec.to_builtins(data)
    return text


def report_data(recording: Recording) -> tuple[dict[str, Any], dict[str, Speech]]:
    """What the page shows, and the sound of both sides.

    Args:
        recording: the trace.

    Returns:
        Data that JSON can hold, and the speech under ``client`` and ``server``.
    """
    facts = _Facts(recording)
    for line in recording.lines:
        facts.see(line)
    return facts.data(), {"client": facts.client.speech(), "server": facts.server.speech()}


class _Track:
    """The sound of one side: its samples, and where on the time axis which of them are.

    Attributes:
        segments: ``[from s, to s, from sample, to sample]``.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.segments: list[list[float]] = []
        self.is_pcm = True
        self._pcm = bytearray()
        self._session_began = 0  # with which sample the session began that counts milliseconds now

    def begin_session(self) -> None:
        """Count milliseconds from here: after a break the server's new session knows nothing of the old one."""
        self._session_began = len(self._pcm) // 2

    @property
    def end(self) -> float:
        """Where the sound ends, on the time axis."""
        return self.segments[-1][1] if self.segments else 0.0

    def captured(self, sound: bytes, t: float) -> None:
        """Add sound that was recorded up to ``t``; sent faster than that, it is squeezed."""
        if not self.is_pcm:
            return
        first, last = self._add(sound)
        seconds = (last - first) / self.sample_rate
        if self.segments:
            segment = self.segments[-1]
            expected = segment[1] + seconds
            if abs(expected - t) < JITTER_S and _is_real_time(segment, self.sample_rate):
                segment[1], segment[3] = expected, last
                return
        self.segments.append([max(self.end, t - seconds), t, first, last])

    def played(self, sound: bytes, t: float) -> None:
        """Add sound that arrived at ``t`` and is played when what came before has been."""
        if not self.is_pcm:
            return
        first, last = self._add(sound)
        seconds = (last - first) / self.sample_rate
        start = max(t, self.end)
        if self.segments and start - self.end < 0.02 and self.segments[-1][3] == first:
            self.segments[-1][1] += seconds
            self.segments[-1][3] = last
        else:
            self.segments.append([start, start + seconds, first, last])

    def cut(self, t: float) -> None:
        """Let nothing be heard that was to be played after ``t``."""
        while self.segments and self.segments[-1][0] >= t:
            self.segments.pop()
        if self.segments and self.segments[-1][1] > t:
            segment = self.segments[-1]
            segment[3] -= round((segment[1] - t) * self.sample_rate)
            segment[1] = t

    def at(self, ms: Any, otherwise: float) -> float:
        """Where on the time axis a moment of the sound is, which is told in milliseconds from the session's first."""
        if not isinstance(ms, (int, float)):
            return otherwise
        sample = self._session_began + ms * self.sample_rate / 1000
        for start, end, first, last in self.segments:
            if first <= sample <= last and last > first:
                return start + (end - start) * (sample - first) / (last - first)
        return otherwise

    def _add(self, sound: bytes) -> tuple[int, int]:
        first = len(self._pcm) // 2
        self._pcm += sound
        return first, len(self._pcm) // 2

    def speech(self) -> Speech:
        """The samples, as they came."""
        return Speech(bytes(self._pcm[: len(self._pcm) & ~1]), self.sample_rate)

    def data(self) -> dict[str, Any]:
        """For the page."""
        return {"rate": self.sample_rate, "segments": self.segments, "peaks": self._peaks(), "peak_ms": PEAK_MS}

    def _peaks(self) -> bytes:
        """The loudest sample of every ten milliseconds, as one byte of 0 to 255."""
        import numpy as np

        size = self.sample_rate * PEAK_MS // 1000
        samples = np.abs(np.frombuffer(self.speech().pcm, np.int16).astype(np.int32))
        samples = np.pad(samples, (0, -len(samples) % size))
        return bytes((samples.reshape(-1, size).max(axis=1) >> 7).clip(0, 255).astype(np.uint8).tobytes())


def _is_real_time(segment: list[float], rate: int) -> bool:
    heard = (segment[3] - segment[2]) / rate
    return abs(segment[1] - segment[0] - heard) < 0.02 + heard * 0.02


class _Facts:
    """Goes through a trace once, and remembers what the page needs."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.client = _Track(16000)
        self.server = _Track(24000)
        self._model = ""
        self._family = ""
        self._types: dict[str, int] = {}
        self._events: list[list[Any]] = []
        self._captions: list[list[Any]] = []
        self._speech: list[list[float]] = []
        self._turns: list[TurnMetrics] = []
        self._replies: dict[str, TurnMetrics] = {}
        self._waiting = TurnMetrics()
        self._began_text: dict[str, float] = {}
        self._underruns: int | None = None  # unknown without a player
        self._underrun_times: list[float] = []
        self._began_at = ""

    def see(self, line: Line) -> None:
        """Take one line."""
        if line.direction == "trace":
            self._began_at = str(line.event.get("at") or "")
            return
        number = self._types.setdefault(line.type or "(not JSON)", len(self._types))
        side = {"client": 0, "server": 1}.get(line.direction, 2)
        bulk = line.type in (_APPEND, AUDIO_DELTA)
        raw = "" if bulk else msgspec.json.encode(line.event).decode()[:RAW]
        self._events.append([round(line.t, 4), side, number, _summary(line.event), raw])
        if line.direction == "client":
            self._sent(line)
        elif line.direction == "server":
            self._received(line)
        elif line.type == "player":
            self._underran(line)

    def _sent(self, line: Line) -> None:
        if line.type == _APPEND:
            self.client.captured(self._recording.sound(line.event), line.t)
        elif line.type in _ASKING or (line.type == "input_text_buffer.append" and self._waiting.asked is None):
            self._waiting.asked = line.t
        if line.type == "input_text_buffer.append":
            self._captions.append([line.t, line.t, 0, str(line.event.get("text") or "")])
        elif line.type == "conversation.item.create":
            self._captions.append([line.t, line.t, 0, _text_of(line.event.get("item"))])

    def _received(self, line: Line) -> None:
        event, kind = line.event, line.type
        reply = str(event.get("response_id") or _inner(event, "response", "id"))
        if kind in ("session.created", "session.updated"):
            self._session(event.get("session"))
            if kind == "session.created":
                self.client.begin_session()
        elif kind == AUDIO_DELTA:
            turn = self._turn(reply)
            turn.first_audio = turn.first_audio or line.t
            self.server.played(self._recording.sound(event), line.t)
        elif kind in _FIRST_TEXT:
            turn = self._turn(reply)
            turn.first_text = turn.first_text or line.t
        elif kind == "input_audio_buffer.speech_started":
            self._speech.append([self.client.at(event.get("audio_start_ms"), line.t), -1])
            if self._family == "omni":
                self.server.cut(line.t)
        elif kind == "input_audio_buffer.speech_stopped":
            self._waiting.speech_stopped = line.t
            if self._speech:
                self._speech[-1][1] = max(self._speech[-1][0], self.client.at(event.get("audio_end_ms"), line.t))
        elif kind == "input_audio_buffer.committed":
            self._waiting.committed = line.t
        elif kind == _HEARD:
            self._user_said(line)
        elif kind in _SAID:
            began = self._began_of(reply, line.t)
            self._captions.append([began, line.t, 1, str(event.get(_SAID[kind]) or "").strip()])
        elif kind == "response.created":
            self._turn(reply)
        elif kind == "response.done":
            self._turn(reply).done = line.t
            self._replies.pop(reply, None)

    def _underran(self, line: Line) -> None:
        """A player has told how many underruns there have been so far."""
        count = int(line.event.get("underruns") or 0)
        if count > (self._underruns or 0):
            self._underrun_times.append(round(line.t, 3))
        self._underruns = max(self._underruns or 0, count)

    def _session(self, session: Any) -> None:
        if not isinstance(session, dict):
            return
        try:
            profile = profile_of(str(session.get("model") or self._model))
        except ValueError:  # a ConfigError: nothing that is known
            return
        self._model, self._family = profile.model, profile.family.value
        if not self.client.segments:
            self.client.sample_rate = input_rate(session)
        if not self.server.segments:
            self.server.sample_rate = output_rate(profile.family, session)
            self.server.is_pcm = str(session.get("response_format") or "pcm").startswith("pcm")

    def _turn(self, reply: str) -> TurnMetrics:
        """The turn of a response; the first event of a response ends the waiting for it."""
        turn = self._replies.get(reply)
        if turn is None:
            turn, self._waiting = self._waiting, TurnMetrics()
            turn.response_id = reply
            self._replies[reply] = turn
            self._turns.append(turn)
        return turn

    def _began_of(self, reply: str, t: float) -> float:
        turn = self._replies.get(reply)
        return (turn.first_audio or turn.first_text or t) if turn is not None else t

    def _user_said(self, line: Line) -> None:
        """The caption stands where the speech was, not where the transcript came."""
        text = str(line.event.get("transcript") or "").strip()
        done = [span for span in self._speech if span[1] >= 0]
        at = bisect_left([span[1] for span in done], line.t) - 1
        start, end = done[at] if at >= 0 else (line.t, line.t)
        self._captions.append([start, end, 0, text])

    def data(self) -> dict[str, Any]:
        """For the page."""
        last = max((line.t for line in self._recording.lines), default=0.0)
        for span in self._speech:
            span[1] = span[1] if span[1] >= 0 else last
        metrics = Metrics()
        metrics.turns.extend(self._turns)
        return {
            "title": self._model or "A session",
            "family": self._family,
            "file": self._recording.path.name,
            "began": self._began_at,
            "duration": max(last, self.client.end, self.server.end, 0.001),
            "types": list(self._types),
            "events": self._events,
            "captions": [[round(a, 3), round(max(a, b), 3), who, text] for a, b, who, text in self._captions if text],
            "speech": self._speech,
            "turns": [_turn_row(turn) for turn in self._turns],
            "waits": {name: [spread.count, spread.p50, spread.p95] for name, spread in metrics.summary().items()},
            "underruns": self._underruns,
            "underrun_times": self._underrun_times,
            "tracks": {"client": self.client.data(), "server": self.server.data()},
        }


def _turn_row(turn: TurnMetrics) -> dict[str, float | str | None]:
    return {
        "id": turn.response_id,
        "began": turn.began,
        "first_text": turn.first_text,
        "first_audio": turn.first_audio,
        "done": turn.done,
    }


def _inner(event: dict[str, Any], name: str, field: str) -> str:
    inner = event.get(name)
    return str(inner.get(field) or "") if isinstance(inner, dict) else ""


def _text_of(item: Any) -> str:
    """The text of an item of a conversation."""
    if not isinstance(item, dict):
        return ""
    parts = item.get("content") or [{"text": item.get("output") or ""}]
    return " ".join(str(part.get("text") or "") for part in parts if isinstance(part, dict)).strip()


def _summary(event: dict[str, Any]) -> str:
    """What is worth knowing of an event, in one short line."""
    if event.get("type") == "player":
        return f"underruns so far: {event.get('underruns')}"
    sound = event.get("delta") if event.get("type") == AUDIO_DELTA else event.get("audio")
    if isinstance(sound, dict) and "bytes" in sound:
        return f"{sound['bytes']} bytes"
    detail = event.get("error")
    if isinstance(detail, dict):
        return str(detail.get("message") or detail)[:SUMMARY]
    parts = [str(event[name]) for name in ("text", "stash", "transcript", "delta", "arguments") if event.get(name)]
    parts += [f"{name[6:-3]} at {event[name]} ms" for name in ("audio_start_ms", "audio_end_ms") if name in event]
    if isinstance(event.get("response"), dict):
        parts.append(str(event["response"].get("status") or ""))
    if isinstance(event.get("item"), dict):
        parts.append(" ".join(filter(None, (str(event["item"].get("role") or ""), _text_of(event["item"])))))
    if isinstance(event.get("image"), dict):
        parts.append(f"{event['image'].get('bytes')} bytes")
    if isinstance(event.get("session"), dict):
        parts.append(", ".join(f"{key}={value}" for key, value in event["session"].items() if key != "object"))
    return " ".join(parts)[:SUMMARY]
