"""Faults crossed with the four families: what each one ends in. ``python -m tests.reliability.matrix`` prints it.

A cell is a short session against the local server, which commits the fault itself, or through the proxy, which commits
it on the way. It ends in ``success``, or in the error that the caller gets, with its first cause.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from qwen_realtime import ASRClient, LiveTranslateClient, OmniClient, ReconnectPolicy, TTSClient
from qwen_realtime.errors import RealtimeError
from qwen_realtime.server import (
    BinaryFrame,
    CloseWith,
    CutMidFrame,
    Delay,
    Drop,
    DropSetting,
    Duplicate,
    ErrorEvent,
    Expire,
    Fault,
    InvalidUtf8,
    LateDelta,
    LocalServer,
    LongReason,
    MalformedJson,
    NoPong,
    OddAudio,
    Oversized,
    RateLimit,
    Reject,
    Reset,
    Silent,
    Stall,
    UnknownType,
)
from qwen_realtime.server.engines import Engines

from ..proxy import Proxy, Way

__all__ = ["FAMILIES", "ROWS", "Row", "run_cell", "table"]

FAMILIES = ("TTS", "ASR", "Omni", "LiveTranslate")
SUCCESS = "success"
LIMIT_S = 15.0  # no cell may take longer

# The first event of each family that has something to do with its work, and one in the middle of it.
WORK = {
    "TTS": "response.audio.delta",
    "ASR": "input_audio_buffer.speech_started",
    "Omni": "response.created",
    "LiveTranslate": "input_audio_buffer.speech_started",
}
DONE = {
    "TTS": "response.done",
    "ASR": "conversation.item.input_audio_transcription.completed",
    "Omni": "response.done",
    "LiveTranslate": "response.done",
}

SERVER_CLOSED = "ConnectionClosed (server)"
BROKEN = "ConnectionClosed (network)"
GARBAGE = "ProtocolViolation"
ERROR = "ServerError"
SLOW = "WaitTimeout"


@dataclass(frozen=True)
class Row:
    """One fault.

    Args:
        name: for the table.
        ends: what every cell ends in, or by family where they differ; ``"-"`` where a fault has no meaning.
        faults: of the server, given the event at which they happen.
        down: of the proxy, on the way to the client.
        up: of the proxy, on the way to the server.
        options: of the client.
        act: what is done with a client, in place of a whole session.
    """

    name: str
    ends: str | dict[str, str]
    faults: Callable[[str], Sequence[Fault]] = lambda _: ()
    down: Way | None = None
    up: Way | None = None
    options: dict[str, Any] = field(default_factory=dict)
    act: Callable[[Any, str, bytes], None] | None = None

    def expected(self, family: str) -> str:
        """What the cell of a family ends in; where two things race, either of them."""
        return self.ends if isinstance(self.ends, str) else self.ends.get(family, self.ends.get("*", SUCCESS))

    def is_right(self, family: str, ended: str) -> bool:
        """Whether a cell has ended so."""
        return ended in self.expected(family).split(" or ")


def _cancels(client: Any, family: str, _: bytes) -> None:
    """Ask, cancel at the first sound, wait for what ends the response, and ask again."""
    cancelled: list[bool] = []

    def cancel(_: object) -> None:
        if not cancelled:
            cancelled.append(client.cancel_response())

    client.on("response.audio.delta", cancel)
    with client.expect("response.output_item.done", 5):
        client.send_text("Tell me a long story, please, and take your time.")
        client.create_response()
    assert cancelled == [True]
    _work(client, family, b"")


RECONNECTS = {"reconnect": ReconnectPolicy(first_delay=0.01, max_delay=0.1, max_attempts=20)}
QUICK_PINGS = {"ping_interval": 0.1, "ping_timeout": 0.1}
ONLY_OMNI = {"*": "-", "Omni": SUCCESS}


def _at(kind: type[Fault], **fields: Any) -> Callable[[str], Sequence[Fault]]:
    return lambda family: [kind(on=WORK[family], **fields)]


def _always(*faults: Fault) -> Callable[[str], Sequence[Fault]]:
    return lambda _: list(faults)


ROWS: tuple[Row, ...] = (
    Row("none", SUCCESS),
    # the handshake
    Row("401", "AuthenticationError", _always(Reject(status=401))),
    Row("403", "AuthenticationError", _always(Reject(status=403))),
    Row("404", "HandshakeError", _always(Reject(status=404))),
    Row("429", "RateLimitError", _always(Reject(status=429, retry_after=3))),
    Row("503", "HandshakeError", _always(Reject(status=503))),
    Row("accepts and stays silent", "ConnectTimeout", _always(Silent()), options={"connect_timeout": 0.7}),
    Row(
        "rate limit after the greeting", f"{ERROR} or {SERVER_CLOSED}", _always(RateLimit()), options={"settings": True}
    ),
    Row(
        "close 1007, reason too long",
        SERVER_CLOSED,
        _always(LongReason(on="session.updated")),
        options={"settings": True},
    ),
    # messages
    Row("malformed JSON", GARBAGE, _at(MalformedJson)),
    Row("empty message", GARBAGE, _at(MalformedJson, payload=b"")),
    Row("JSON that is no object", GARBAGE, _at(MalformedJson, payload=b"[1, 2]")),
    Row(
        "nested a million deep",
        GARBAGE,
        _at(MalformedJson, payload=b'{"type":"x","a":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"),
    ),
    Row("invalid UTF-8", GARBAGE, _at(InvalidUtf8)),
    Row("binary frame", GARBAGE, _at(BinaryFrame)),
    Row("message over the limit", GARBAGE, _at(Oversized, size=200_000), options={"max_message_bytes": 150_000}),
    Row("unknown event", SUCCESS, _at(UnknownType)),
    Row("a field of another type", SUCCESS, _at(MalformedJson, payload=b'{"type":"response.audio.delta","delta":[7]}')),
    Row(
        "audio that is not base64", SUCCESS, _at(MalformedJson, payload=b'{"type":"response.audio.delta","delta":"*"}')
    ),
    Row("error event", ERROR, _at(ErrorEvent)),
    Row("odd-sized audio", SUCCESS, _always(OddAudio())),
    Row("each event twice", SUCCESS, lambda family: [Duplicate(on=DONE[family], times=0)]),
    Row("two response.text.done", SUCCESS, _always(Duplicate(on="response.text.done", times=0))),
    Row(
        "settings not echoed",
        SUCCESS,
        _always(DropSetting(path="voice"), DropSetting(path="modalities")),
        options={"settings": True},
    ),
    Row("cancel without response.done", ONLY_OMNI, act=_cancels),
    Row("late deltas after cancel", ONLY_OMNI, _always(LateDelta()), act=_cancels),
    Row("no response.done", {"*": SUCCESS, "Omni": SLOW}, _always(Drop(on="response.done", times=0))),
    Row("no session.finished", {"*": SLOW, "Omni": SUCCESS}, _always(Drop(on="session.finished"))),
    # the connection, by the server
    Row("close 1011", SERVER_CLOSED, _at(CloseWith, code=1011, reason="internal")),
    Row("session limit", SERVER_CLOSED, _at(Expire)),
    Row("cut in mid-frame", BROKEN, _at(CutMidFrame)),
    Row("TCP reset", BROKEN, _at(Reset)),
    Row("late by half a second", SUCCESS, _at(Delay, seconds=0.5)),
    Row("stalls", SLOW, _at(Stall)),
    Row("no pongs, but events", SUCCESS, _always(NoPong()), options=QUICK_PINGS),
    # the connection, on the way
    Row("delay 30 ms a piece", SUCCESS, down=Way(delay_s=0.03), up=Way(delay_s=0.03)),
    Row("throttled", SUCCESS, down=Way(bytes_per_s=400_000), up=Way(bytes_per_s=400_000)),
    Row("one byte at a time", SUCCESS, down=Way(split=1), up=Way(split=1)),
    Row("frames merged", SUCCESS, down=Way(merge_s=0.05), up=Way(merge_s=0.05)),
    Row("fragments, pings between", SUCCESS, down=Way(fragments=11)),
    Row(
        "fragments over the limit",
        GARBAGE,
        _at(Oversized, size=200_000),
        down=Way(fragments=1000),
        options={"max_message_bytes": 150_000},
    ),
    Row("cut in the handshake", "HandshakeError", down=Way(cut_at=40)),
    Row("cut at byte 1500 down", BROKEN, down=Way(cut_at=1500)),
    Row("cut at byte 420 up", BROKEN, up=Way(cut_at=420)),
    Row("reset at byte 1500", BROKEN, down=Way(reset_at=1500)),
    Row("black hole", BROKEN, down=Way(hole_at=1500), options=QUICK_PINGS),
    # with a policy
    Row("cut in mid-frame, reconnecting", SUCCESS, _at(CutMidFrame), options=RECONNECTS),
    Row("TCP reset, reconnecting", SUCCESS, _at(Reset), options=RECONNECTS),
    Row("close 1011, reconnecting", SUCCESS, _at(CloseWith, code=1011), options=RECONNECTS),
    Row("session limit, reconnecting", SUCCESS, _at(Expire), options=RECONNECTS),
    Row(
        "503 then up, reconnecting",
        SUCCESS,
        lambda family: [CutMidFrame(on=WORK[family]), Reject(status=503, connection=2)],
        options=RECONNECTS,
    ),
    Row(
        "429 then up, reconnecting",
        SUCCESS,
        lambda family: [CutMidFrame(on=WORK[family]), Reject(status=429, retry_after=0.1, connection=2)],
        options=RECONNECTS,
    ),
    Row(
        "401 now, reconnecting",
        "ConnectionClosed from AuthenticationError",
        lambda family: [CutMidFrame(on=WORK[family]), Reject(status=401, connection=2)],
        options=RECONNECTS,
    ),
    Row("cut at byte 1500, reconnecting", SUCCESS, down=Way(cut_at=1500), options=RECONNECTS),
    Row("black hole, reconnecting", SUCCESS, down=Way(hole_at=1500), options={**RECONNECTS, **QUICK_PINGS}),
    Row("malformed JSON, reconnecting", GARBAGE, _at(MalformedJson), options=RECONNECTS),
)


def _client(family: str, url: str, options: dict[str, Any]) -> Any:
    own: dict[str, Any] = {"connect_timeout": 5.0, "close_timeout": 0.5, "send_timeout": 2.0, **options}
    if own.pop("settings", False) or family == "LiveTranslate":
        settings: dict[str, dict[str, Any]] = {
            "TTS": {"voice": "Cherry"},
            "ASR": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 500}},
            "Omni": {"voice": "Tina", "modalities": ["text", "audio"]},
            "LiveTranslate": {"translation": {"language": "es"}, "modalities": ["text"]},
        }
        own |= settings[family]
    kinds: dict[str, Any] = {
        "TTS": TTSClient,
        "ASR": ASRClient,
        "Omni": OmniClient,
        "LiveTranslate": LiveTranslateClient,
    }
    return kinds[family](url=url, api_key="any", **own)


def _work(client: Any, family: str, question: bytes, patience: float = 5.0) -> None:
    """A small piece of the family's work, waited for to its end; a session that brings nothing has failed."""
    came: list[object] = []
    client.on(WORK[family], came.append)
    if family == "TTS":
        client.append_text("A sentence. And one more of them.")
    elif family == "Omni":
        client.send_text("Hello.")
        client.create_response()
    else:
        client.append_audio(question)
    client.finish(patience)
    assert came, "the session has brought nothing"


def run_cell(row: Row, family: str, engines: Engines, question: bytes) -> str:
    """Run one cell; what it ended in.

    Args:
        row: the fault.
        family: one of :data:`FAMILIES`.
        engines: of the local server.
        question: PCM at 16 kHz in which something is said.
    """
    if row.expected(family) == "-":
        return "-"
    with LocalServer(engines=engines, faults=row.faults(family)) as server:
        proxy = Proxy(server.url, down=row.down or Way(), up=row.up or Way(), faulty=1)
        disconnected: list[Any] = []
        client = _client(family, proxy.url, row.options)
        client.on("disconnected", disconnected.append)
        try:
            client.connect()
            if row.act is not None:
                row.act(client, family, question)
            else:
                _work(client, family, question, 0.8 if row.expected(family) == SLOW else 5.0)
            ended = SUCCESS
        except RealtimeError as error:
            ended = _named(error)
        finally:
            client.close()
            proxy.close()
        if client.session_id and len(disconnected) != 1:
            return f"{ended}, but {len(disconnected)} times disconnected"
        return ended


def _named(error: RealtimeError) -> str:
    name = type(error).__name__
    cause = error.__cause__
    if name == "ConnectionClosed":
        if cause is not None and type(cause).__name__ != "ConnectionClosed" and isinstance(cause, RealtimeError):
            return f"{name} from {type(cause).__name__}"
        return f"{name} ({getattr(error, 'by', '')})"
    return name


def question_of(engines: Engines) -> bytes:
    """Something said, at 16 kHz, with silence after it."""
    with (
        LocalServer(engines=engines) as server,
        TTSClient(url=server.url, api_key="any", mode="commit", sample_rate=16000) as voice,
    ):
        return voice.say("Hello there, how are you?").pcm + bytes(16000 * 2 * 2)


def table(results: dict[tuple[str, str], str]) -> str:
    """The matrix in Markdown; what is not as expected is marked."""
    lines = ["| fault | " + " | ".join(FAMILIES) + " |", "| --- " * (len(FAMILIES) + 1) + "|"]
    for row in ROWS:
        cells = []
        for family in FAMILIES:
            ended, expected = results[row.name, family], row.expected(family)
            cells.append(ended if row.is_right(family, ended) else f"**{ended}**, expected {expected}")
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run all cells and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("qwen_realtime").setLevel(logging.CRITICAL)
    engines = Engines(speech="tones", listening="tones", translation="phrases")
    engines.warm_up()
    question = question_of(engines)
    results: dict[tuple[str, str], str] = {}
    wrong = 0
    began = time.monotonic()
    for row in ROWS:
        for family in FAMILIES:
            if options.only not in row.name:
                results[row.name, family] = row.expected(family)
                continue
            started = time.monotonic()
            try:
                results[row.name, family] = run_cell(row, family, engines, question)
            except Exception as error:  # noqa: BLE001 - it belongs into the table
                results[row.name, family] = repr(error)
            wrong += not row.is_right(family, results[row.name, family]) or time.monotonic() - started > LIMIT_S
    engines.close()
    print(table(results))
    print(f"\n{len(results)} cells, {wrong} wrong, {time.monotonic() - began:.0f} s")
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()
