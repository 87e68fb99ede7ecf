"""Fuzzing: mutated messages into the codec, mutated frames into the transport, both into the local server.

``python -m tests.reliability.fuzz --inputs 1000000`` is the long run; the normal tests have a small part of it. An
input may be taken or refused with a typed error; any other exception is a bug, and ends the run.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

from qwen_realtime import codec
from qwen_realtime.errors import ConnectionClosed, ProtocolError, RealtimeError
from qwen_realtime.events import SessionEvent, UnknownEvent
from qwen_realtime.journal import Journal, journal_for
from qwen_realtime.protocol import Family, SessionState
from qwen_realtime.settings import compare_echo, input_rate, output_rate, profile_of
from qwen_realtime.sockets import DuplexSocket
from qwen_realtime.transport import Transport

from ..data import CLIENT_EXAMPLES, SERVER_EXAMPLES
from ..peer import frame

__all__ = ["fuzz_codec", "fuzz_frames", "fuzz_server", "messages"]

PROFILE = profile_of("qwen3.5-omni-flash-realtime")
_SEEDS = [json.dumps(each).encode() for each in (*SERVER_EXAMPLES.values(), *CLIENT_EXAMPLES.values())]
_TOKENS = [
    b"null", b"true", b"-1", b"1e999", b"18446744073709551616", b"0.1", b'""', b'"\\u0000"', b'"\\ud800"', b"[]", b"{}",
    b'{"type":', b'"type"', b"\xff\xfe", b"\xed\xa0\x80", b"\x00", b"[" * 2000, b'"' + b"A" * 300 + b'"', b"NaN", b"*",
    b"\\", "😀".encode(), b'"delta"', b'"audio"', b'"response"', b'"session"', b'"error"', b'"item"',
]  # fmt: skip


def messages(rng: random.Random) -> Iterator[bytes]:
    """Messages for ever: real ones, mutated ones, spliced ones, and noise."""
    while True:
        data = bytearray(rng.choice(_SEEDS))
        for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
            _mutate(data, rng)
        yield bytes(data)


def _mutate(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(8)
    if kind == 0:
        data[at:at] = rng.choice(_TOKENS)
    elif kind == 1:
        del data[at : at + rng.randrange(1, 40)]
    elif kind == 2 and data:
        data[at % len(data)] ^= 1 << rng.randrange(8)
    elif kind == 3:
        other = rng.choice(_SEEDS)
        data[at:] = other[rng.randrange(len(other)) :]
    elif kind == 4:
        data[at:at] = rng.randbytes(rng.randrange(1, 16))
    elif kind == 5:  # a value of another type
        values = [i for i, byte in enumerate(data) if byte == ord(":")]
        if values:
            begin = rng.choice(values) + 1
            end = min((i for i in range(begin, len(data)) if data[i] in b",}]"), default=len(data))
            data[begin:end] = rng.choice(_TOKENS)
    elif kind == 6:
        data[at:at] = data[at : at + rng.randrange(1, 60)]
    else:
        del data[at:]


def fuzz_codec(count: int, seed: int) -> Counter[str]:
    """Decode so many messages as client and server do, and let everything that takes events see what comes out."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    told: Counter[str] = Counter()
    journals = {family: journal_for(family, 5.0) for family in Family}
    states = {family: SessionState(family) for family in Family}
    for number, data in zip(range(count), messages(rng), strict=False):
        family = list(Family)[number % 4]
        try:
            event = codec.decode_server(data)
        except ProtocolError:
            told["refused"] += 1
        else:
            told["unknown" if isinstance(event, UnknownEvent) else "taken"] += 1
            repr((event, event.raw))
            codec.encode(event)
            states[family].advance(event)
            if isinstance(event, SessionEvent):
                compare_echo({"voice": "Cherry", "turn_detection": {"type": "server_vad"}}, event.session, PROFILE)
                journals[family].configured(event.session)
                assert input_rate(event.session) > 0
                assert output_rate(family, event.session) > 0
            journals[family].received(event)
        with suppress(ProtocolError):
            sent = codec.decode_client(data)
            if not isinstance(sent, UnknownEvent):
                journals[family].sent(sent)
                codec.encode(sent)
        if number % 500 == 499:
            journals[family].broke()
            journals[family].history()
            journals[family].resume()
            journals[family] = _fresh(family)
            states[family] = SessionState(family)
    return told


def _fresh(family: Family) -> Journal:
    return journal_for(family, 5.0)


def _frames(rng: random.Random, source: Iterator[bytes]) -> bytes:
    """A few frames as a bad server sends them."""
    out = bytearray()
    for _ in range(rng.randrange(1, 6)):
        payload = next(source)[: rng.choice((0, 1, 125, 126, 127, 4000))]
        opcode = rng.choice((1, 1, 1, 1, 0, 2, 8, 9, 10, 3, 0xF))
        out += frame(
            payload, opcode, fin=rng.random() < 0.8, rsv=rng.choice((0,) * 12 + (1, 4)), masked=rng.random() < 0.02
        )
        if rng.random() < 0.05:  # a length that is not so
            out += struct.pack("!BBQ", 0x81, 127, rng.choice((1, 10**6, 2**40, 2**63, 2**64 - 1)))
    for _ in range(rng.choice((0, 0, 1, 3))):
        _mutate(out, rng)
    return bytes(out)


def fuzz_frames(count: int, seed: int) -> Counter[str]:
    """Give a transport so many bursts of frames, each over a socket pair and in two pieces, and decode the messages."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    told: Counter[str] = Counter()
    source = messages(rng)
    for _ in range(count):
        near, far = socket.socketpair()
        transport = Transport(DuplexSocket(near), max_message_bytes=3000, send_timeout=0.2)
        try:
            data = _frames(rng, source)
            cut = rng.randrange(len(data) + 1)
            far.sendall(data[:cut])
            _receive(transport, told)
            far.sendall(data[cut:])
            far.shutdown(socket.SHUT_WR)
            while True:
                _receive(transport, told)
        except (ProtocolError, ConnectionClosed, ConnectionError) as error:
            told[type(error).__name__] += 1
        finally:
            transport.dispose()
            far.close()
    return told


def _receive(transport: Transport, told: Counter[str]) -> None:
    message = transport.receive(0.0)
    if message is not None:
        told["messages"] += 1
        with suppress(ProtocolError):
            codec.decode_server(message)


def fuzz_server(url: str, count: int, seed: int) -> Counter[str]:
    """Send a server so many mutated messages and bursts of frames, over many connections; it must go on serving."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    told: Counter[str] = Counter()
    source = messages(rng)
    host, port = url.split("/")[2].rsplit(":", 1)
    sent = 0
    models = ["qwen3-tts-flash-realtime", "qwen3-asr-flash-realtime", "qwen3.5-omni-flash-realtime"]
    models.append("qwen3.5-livetranslate-flash-realtime")
    while sent < count:
        with socket.create_connection((host, int(port)), timeout=10) as sock:
            request = _request(rng.choice(models))
            if rng.random() < 0.1:
                mutable = bytearray(request)
                _mutate(mutable, rng)
                request = bytes(mutable)
            try:
                sock.sendall(request)
                for _ in range(rng.randrange(1, 40)):
                    data = frame(next(source), masked=True) if rng.random() < 0.97 else _frames(rng, source)
                    sock.sendall(data)
                    sent += 1
                sock.setblocking(False)
                with suppress(BlockingIOError):
                    while sock.recv(65536):
                        pass
            except OSError as error:
                told[type(error).__name__] += 1
            else:
                told["left open"] += 1
    return told


def _request(model: str) -> bytes:
    lines = [
        f"GET /api-ws/v1/realtime?model={model} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13", "Authorization: Bearer any",
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _timed(name: str, count: int, run: Callable[[], Counter[str]]) -> None:
    began = time.monotonic()
    told = run()
    took = time.monotonic() - began
    print(f"{name}: {count} inputs in {took:.0f} s ({count / took:.0f}/s): {dict(told.most_common())}")
    sys.stdout.flush()


def main() -> None:
    """Run it all; an exception that is not typed comes out of here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all: 79 %% codec, 20 %% frames, 1 %% server")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    codec_inputs, frame_inputs = options.inputs * 79 // 100, options.inputs // 5
    server_inputs = options.inputs - codec_inputs - frame_inputs
    _timed("codec, journal and state", codec_inputs, lambda: fuzz_codec(codec_inputs, options.seed))
    _timed("frames", frame_inputs, lambda: fuzz_frames(frame_inputs, options.seed))
    from qwen_realtime import TTSClient
    from qwen_realtime.server import LocalServer
    from qwen_realtime.server.engines import Engines

    engines = Engines(speech="tones", listening="tones", translation="phrases")
    with LocalServer(engines=engines) as server:
        _timed("local server", server_inputs, lambda: fuzz_server(server.url, server_inputs, options.seed))
        try:
            with TTSClient(url=server.url, api_key="any", mode="commit") as client:
                assert client.say("Still here.").pcm
        except RealtimeError as error:
            raise SystemExit(f"the server serves no more: {error}") from error
    engines.close()


if __name__ == "__main__":
    main()
