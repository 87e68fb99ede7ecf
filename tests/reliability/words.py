"""A minute of people's speech, transcribed whole and with the connection cut at random moments: to the same words.

``python -m tests.reliability.words --seeds 1 2 3`` prints both; the normal tests run it beside all others. The audio
is sent at six times real time; sessions run at once.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from qwen_realtime import ASRClient
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines

from ..proxy import Proxy
from .speech import RATE, human_speech
from .tools import AT_ONCE, Cutter, Log

__all__ = ["Outcome", "listen", "measure", "stream"]

SPEED = 6.0
CUTS = 20
END_S = 300.0


@dataclass
class Outcome:
    """What one session brought; the seed is 0 where nothing was cut."""

    seed: int
    words: list[str] = field(default_factory=list)
    cuts: int = 0
    connections: int = 1
    lost_ms: float = 0.0
    lost_events: int = 0
    starts_ms: list[int] = field(default_factory=list)


def stream(client: Any, pcm: bytes) -> None:
    """Send audio at six times real time, and two seconds of silence after it."""
    began, pause, block = time.monotonic(), threading.Event(), RATE // 5
    for start in range(0, len(pcm), block):
        client.append_audio(pcm[start : start + block])
        pause.wait(max(0.0, began + (start + block) / 2 / RATE / SPEED - time.monotonic()))
    client.append_audio(bytes(RATE * 2 * 2))


def listen(url: str, pcm: bytes, outcome: Outcome, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Transcribe."""
    client = ASRClient(url=url, api_key="any", reconnect=AT_ONCE)
    log = Log(client)
    client.on(
        "conversation.item.input_audio_transcription.completed", lambda event: outcome.words.append(event.transcript)
    )
    client.on("input_audio_buffer.speech_started", lambda event: outcome.starts_ms.append(event.audio_start_ms))
    with client:
        meanwhile()
        stream(client, pcm)
        client.finish(END_S)
    outcome.lost_ms = sum(event.lost.audio_ms for event in log.of("reconnected"))
    outcome.lost_events = sum(event.lost.events for event in log.of("reconnected"))


def _listen_with_cuts(server: LocalServer, pcm: bytes, outcome: Outcome) -> None:
    cutters: list[Cutter] = []
    with Proxy(server.url) as proxy:
        listen(proxy.url, pcm, outcome, lambda: cutters.append(Cutter(proxy, CUTS, outcome.seed, 0.1, 0.8)))
        outcome.cuts, outcome.connections = cutters[0].stop(), proxy.connections


def measure(seeds: list[int]) -> list[Outcome]:
    """Transcribe once without a cut, and once for each seed; all at once."""
    pcm = human_speech(60.0, 8.0)
    outcomes = [Outcome(seed) for seed in (0, *seeds)]
    engines = Engines()
    try:
        engines.warm_up()
        with LocalServer(engines=engines) as server, ThreadPoolExecutor(len(outcomes)) as pool:
            runs = [pool.submit(listen, server.url, pcm, outcomes[0])]
            runs += [pool.submit(_listen_with_cuts, server, pcm, outcome) for outcome in outcomes[1:]]
            for run in runs:
                run.result()
    finally:
        engines.close()
    return outcomes


def main() -> None:
    """Run and print; the status says whether the words are the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--json", action="store_true", help="print what each session brought")
    options = parser.parse_args()
    whole, *others = outcomes = measure(options.seeds)
    if options.json:
        print(json.dumps([asdict(outcome) for outcome in outcomes]))
        return
    print(f"without a cut: {len(' '.join(whole.words).split())} words in {len(whole.words)} utterances")
    for each in others:
        same = "the same words" if each.words == whole.words else f"not the same: {each.words}"
        told = f"seed {each.seed}: {each.cuts} cuts, {each.connections} connections"
        print(f"{told}: {same}; lost {each.lost_ms:.0f} ms and {each.lost_events} events")
    raise SystemExit(any(each.words != whole.words for each in others))


if __name__ == "__main__":
    main()
