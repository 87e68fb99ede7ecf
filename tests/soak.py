"""A soak: mixed sessions against the local server for minutes or hours, with random faults and reconnection on.

    python tests/soak.py --minutes 30

Workers hold one session after the other, of all four families, through proxies that a hand of chaos cuts, resets,
black-holes and shuts. Each session knows what it must bring: so much sound, so many utterances, so many answers. What
is missing or comes twice is counted as a failure, as is every error. Threads, descriptors and memory are sampled and
drawn as a picture.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qwen_realtime import ASRClient, LiveTranslateClient, OmniClient, ReconnectPolicy, TTSClient
from qwen_realtime.errors import ConnectError, ConnectionClosed
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).parents[1]))
    __package__ = "tests"

from .proxy import Proxy

PICTURE = Path(__file__).parent / "soak.svg"
POLICY = ReconnectPolicy(first_delay=0.05, max_delay=0.5, max_attempts=1000)
PROXIES = 10
BLOCK = 3200  # 100 ms
SPEED = 8.0  # of the audio, in multiples of real time
TEXTS = (
    "The first sentence of this text is short. The second one is a little longer than that. And here is a third.",
    "Nothing is lost and nothing comes twice, whatever happens on the way from here to there. That is the whole idea.",
)


@dataclass
class Tally:
    """What has happened so far; workers add to it."""

    sessions: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    events: int = 0
    breaks: int = 0
    reconnections: int = 0
    turned_away: int = 0
    lost_ms: float = 0.0
    lost_events: int = 0
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, what: str) -> None:
        """Note a failure and tell of it at once: a soak is long."""
        self.failures.append(what)
        print("-", what, flush=True)


@dataclass(frozen=True)
class Sample:
    """The process at a moment."""

    minutes: float
    threads: int
    descriptors: int
    rss_mb: float
    sessions: int

    @classmethod
    def now(cls, began: float, sessions: int) -> Sample:
        """Measure."""
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return cls(
            (time.monotonic() - began) / 60,
            threading.active_count(),
            len(os.listdir("/proc/self/fd")),
            pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
            sessions,
        )


class Session:
    """One session; counts what it brings.

    Args:
        kind: of the client.
        url: where to.
        counted: type of the event to count.
        options: of the client.
    """

    def __init__(self, kind: Callable[..., Any], url: str, counted: str, **options: Any) -> None:
        self.audio = 0
        self.count = 0
        self.events = 0
        self.turned_away = 0  # a policy is for sessions: who is not let in must knock again
        self.names: Counter[str] = Counter()
        self.lost: list[Any] = []
        self._counted = counted
        while True:
            self.client = kind(
                url=url,
                api_key="any",
                reconnect=POLICY,
                ping_interval=1.0,
                ping_timeout=1.0,
                connect_timeout=20.0,
                **options,
            )
            self.client.on("*", self._take)
            try:
                self.client.connect()
            except (ConnectError, ConnectionClosed):
                self.turned_away += 1
                self.names.clear()
                time.sleep(0.1)
            else:
                return

    def _take(self, event: Any) -> None:
        self.events += 1
        self.names[event.type] += 1
        if event.type == "response.audio.delta":
            self.audio += len(event.delta)
        elif event.type == "reconnected":
            self.lost.append(event.lost)
        if event.type == self._counted:
            self.count += 1


def speak(url: str, text: str) -> tuple[Session, int]:
    """TTS: bytes of sound."""
    session = Session(TTSClient, url, "response.done")
    with session.client as client:
        for word in text.split(" "):
            client.append_text(word + " ")
            time.sleep(0.01)
    return session, session.audio


def _stream(client: Any, pcm: bytes) -> None:
    began = time.monotonic()
    for start in range(0, len(pcm), BLOCK):
        client.append_audio(pcm[start : start + BLOCK])
        time.sleep(max(0.0, began + (start + BLOCK) / 32000 / SPEED - time.monotonic()))


def listen(url: str, pcm: bytes) -> tuple[Session, int]:
    """ASR: utterances."""
    session = Session(ASRClient, url, "conversation.item.input_audio_transcription.completed")
    with session.client as client:
        _stream(client, pcm)
    return session, session.count


def interpret(url: str, pcm: bytes) -> tuple[Session, int]:
    """LiveTranslate: answered utterances."""
    session = Session(
        LiveTranslateClient, url, "response.done", modalities=["text", "audio"], translation={"language": "es"}
    )
    with session.client as client:
        _stream(client, pcm)
    return session, session.count


def converse(url: str, questions: tuple[str, ...]) -> tuple[Session, int]:
    """Omni: answers."""
    session = Session(OmniClient, url, "response.done")
    with session.client as client:
        for question in questions:
            with client.expect("response.done", 60):
                client.send_text(question)
                client.create_response()
    return session, session.count


Work = tuple[str, Callable[[str], tuple[Session, int]]]


def works(pcm: bytes) -> list[Work]:
    """What workers do, in turn."""
    return [
        *((f"TTS {number}", lambda url, text=text: speak(url, text)) for number, text in enumerate(TEXTS)),
        ("ASR", lambda url: listen(url, pcm)),
        ("LiveTranslate", lambda url: interpret(url, pcm)),
        ("Omni", lambda url: converse(url, ("Hello there.", "What is two plus three?"))),
    ]


def worker(url: str, jobs: list[Work], right: dict[str, int], tally: Tally, stop: threading.Event, number: int) -> None:
    """Hold sessions until the end."""
    rng = random.Random(number)  # noqa: S311 - no secret
    while not stop.is_set():
        name, work = rng.choice(jobs)
        try:
            session, brought = work(url)
        except Exception:  # noqa: BLE001 - counted, and told at the end
            with tally.lock:
                tally.fail(f"{name}: {traceback.format_exc()}")
            continue
        with tally.lock:
            tally.sessions[name.split()[0]] += 1
            tally.events += session.events
            tally.turned_away += session.turned_away
            tally.breaks += session.names["reconnecting"]
            tally.reconnections += session.names["reconnected"]
            tally.lost_ms += sum(lost.audio_ms for lost in session.lost)
            tally.lost_events += sum(lost.events for lost in session.lost)
            if brought != right[name]:
                tally.fail(f"{name}: {brought} in place of {right[name]}; {dict(session.names)}")
        stop.wait(rng.uniform(0, 0.3))


def chaos(proxies: list[Proxy], tally: Tally, stop: threading.Event, every_s: float) -> None:
    """Do something bad to a proxy's connections every now and then."""
    rng = random.Random(4)  # noqa: S311 - no secret
    deeds: dict[str, Callable[[Proxy], None]] = {
        "cut": Proxy.cut,
        "reset": Proxy.reset,
        "black hole": Proxy.black_hole,
        "away for half a second": _away,
    }
    while not stop.wait(rng.uniform(0, 2 * every_s)):
        name = rng.choice(["cut", "cut", "cut", "reset", "reset", "black hole", "away for half a second"])
        proxy = rng.choice(proxies)
        hit = proxy.alive
        deeds[name](proxy)
        with tally.lock:
            tally.faults[name] += hit


def _away(proxy: Proxy) -> None:
    proxy.refuse()
    proxy.cut()
    threading.Timer(0.5, proxy.refuse, (False,)).start()


def picture(samples: list[Sample], title: str) -> str:
    """The samples as an SVG: one band each for sessions, threads, descriptors and memory."""
    bands = [
        ("open sessions", "sessions"),
        ("threads", "threads"),
        ("descriptors", "descriptors"),
        ("RSS, MB", "rss_mb"),
    ]
    width, height, left = 720, 90, 130
    last = max(samples[-1].minutes, 1e-9)
    box = f'viewBox="0 0 {width} {len(bands) * height + 50}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="11" fill="#333">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="18" font-size="13">{title}</text>',
    ]
    for band, (label, name) in enumerate(bands):
        values = [float(getattr(sample, name)) for sample in samples]
        top, most = 30 + band * height, max(*values, 1.0)
        points = " ".join(
            f"{left + (width - left - 20) * sample.minutes / last:.1f},{top + (height - 20) * (1 - value / most):.1f}"
            for sample, value in zip(samples, values, strict=True)
        )
        parts.append(f'<text x="10" y="{top + 12}">{label}</text>')
        parts.append(f'<text x="10" y="{top + 28}" fill="#777">max {most:.0f}, last {values[-1]:.0f}</text>')
        parts.append(
            f'<line x1="{left}" x2="{width - 20}" y1="{top + height - 20}" y2="{top + height - 20}" stroke="#ccc"/>'
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="#2563eb" stroke-width="1.5"/>')
    parts.append(
        f'<text x="{width - 20}" y="{len(bands) * height + 42}" text-anchor="end">{last:.1f} minutes</text></svg>'
    )
    return "\n".join(parts) + "\n"


def _question(url: str) -> bytes:
    with TTSClient(url=url, api_key="any", mode="commit", sample_rate=16000) as voice:
        return b"".join(
            voice.say(text).pcm + bytes(32000 * 3 // 2) for text in ("Hello there.", "How are you?", "Fine.")
        )


def soak(minutes: float, sessions: int, every_s: float) -> tuple[Tally, list[Sample]]:
    """Run; returns what happened and how the process was."""
    tally, samples = Tally(), []
    stop = threading.Event()
    engines = Engines(speech="tones", listening="tones", translation="phrases")
    with LocalServer(engines=engines, max_sessions=sessions * 4) as server:
        jobs = works(_question(server.url))
        right = {name: work(server.url)[1] for name, work in jobs}
        print("each session must bring:", right, flush=True)
        proxies = [Proxy(server.url) for _ in range(PROXIES)]
        threads = [
            threading.Thread(target=worker, args=(proxies[n % PROXIES].url, jobs, right, tally, stop, n), daemon=True)
            for n in range(sessions)
        ]
        threads.append(threading.Thread(target=chaos, args=(proxies, tally, stop, every_s), daemon=True))
        began = time.monotonic()
        for thread in threads:
            thread.start()
        while (elapsed := time.monotonic() - began) < minutes * 60:
            samples.append(Sample.now(began, server.sessions))
            if len(samples) % 20 == 1:
                done = sum(tally.sessions.values())
                print(f"{elapsed / 60:6.1f} min  {samples[-1]}  {done} done, {len(tally.failures)} failed", flush=True)
            time.sleep(min(max(1.0, minutes * 60 / 400), max(0.1, minutes * 60 - elapsed)))
        stop.set()
        for thread in threads:
            thread.join(120)
        stuck = sum(thread.is_alive() for thread in threads)
        if stuck:
            tally.fail(f"{stuck} workers do not end")
        samples.append(Sample.now(began, server.sessions))
        for proxy in proxies:
            proxy.close()
    engines.close()
    return tally, samples


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def report(tally: Tally, samples: list[Sample], sessions: int) -> str:
    """The figures in words."""
    done = sum(tally.sessions.values())
    early = samples[len(samples) // 4 : len(samples) // 4 + 5] or samples
    late = samples[-6:-1] or samples
    lines = [
        f"{samples[-1].minutes:.1f} minutes, {sessions} sessions at a time, Python {sys.version.split()[0]}",
        f"sessions: {done} ({_listed(tally.sessions)})",
        f"events: {tally.events}",
        f"connections hit: {sum(tally.faults.values())} ({_listed(tally.faults)})",
        f"tries to reconnect: {tally.breaks}, reconnections: {tally.reconnections}",
        f"cut before the session had begun, and begun again: {tally.turned_away}",
        f"lost: {tally.lost_ms:.0f} ms of audio, {tally.lost_events} events",
        f"failures (something missing or twice, or an error): {len(tally.failures)}",
    ]
    for name in ("threads", "descriptors", "rss_mb"):
        first, last = (sum(getattr(each, name) for each in some) / len(some) for some in (early, late))
        lines.append(f"{name}: {first:.0f} after a quarter, {last:.0f} at the end")
    return "\n".join(lines)


def main() -> None:
    """Run, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between faults, on average")
    parser.add_argument("--out", type=Path, default=PICTURE, help="the picture")
    options = parser.parse_args()
    logging.getLogger("qwen_realtime").setLevel(logging.CRITICAL)
    tally, samples = soak(options.minutes, options.sessions, options.every)
    told = report(tally, samples, options.sessions)
    print(told)
    options.out.write_text(picture(samples, told.splitlines()[0]), encoding="utf-8")
    raise SystemExit(bool(tally.failures))


if __name__ == "__main__":
    main()
