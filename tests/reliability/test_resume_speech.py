"""ASR and LiveTranslate across breaks: the same words as without one, none twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from qwen_realtime import ASRClient, LiveTranslateClient, events
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines

from ..proxy import Proxy
from .speech import RATE, minute_of_speech
from .tools import AT_ONCE, Cutter, Log


class TestSpeechRecognition:
    """ASR: the same words as without a cut, none twice."""

    def test_a_minute_cut_twenty_times(self, engines: Engines, through: Callable[..., Proxy]) -> None:
        """Three sessions at once, each with cuts of its own, at six times real time."""
        pcm = minute_of_speech()
        with LocalServer(engines=engines) as server:
            whole, _ = _transcribe(server.url, pcm, 12.0)
            assert len(" ".join(whole).split()) > 100
            results: dict[int, tuple[list[str], Any, int, int]] = {}

            def run(seed: int) -> None:
                proxy = through(server.url)
                cutters: list[Cutter] = []
                words, log = _transcribe(
                    proxy.url,
                    pcm,
                    6.0,
                    reconnect=AT_ONCE,
                    meanwhile=lambda: cutters.append(Cutter(proxy, 20, seed, 0.1, 0.8)),
                )
                results[seed] = (words, log, cutters[0].stop(), proxy.connections)

            threads = [threading.Thread(target=run, args=(seed,)) for seed in (1, 2, 3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(100)
        assert sorted(results) == [1, 2, 3]
        for words, log, cuts, connections in results.values():
            assert words == whole
            assert cuts == 20
            assert connections >= 21
            assert all(event.lost == events.Lost() for event in log.of("reconnected"))
            starts = [event.audio_start_ms for event in log.speech]
            assert starts == sorted(starts), "positions are on the first connection's clock"

    def test_manual_utterances(self, engines: Engines, through: Callable[..., Proxy]) -> None:
        """What was committed and not transcribed is committed again."""
        pcm = minute_of_speech(8.0)
        pieces = [pcm[start : start + 2 * RATE * 2] for start in range(0, len(pcm), 2 * RATE * 2)]

        def transcribe(url: str, proxy: Proxy | None) -> list[str]:
            words: list[str] = []
            client = ASRClient(url=url, api_key="any", turn_detection=None, reconnect=AT_ONCE)
            client.on("conversation.item.input_audio_transcription.completed", lambda e: words.append(e.transcript))
            with client:
                for piece in pieces:
                    client.append_audio(piece)
                    client.commit()
                    if proxy is not None:
                        proxy.cut()
                cutter = Cutter(proxy, 5, 7, 0.1, 0.5) if proxy is not None else None
                client.finish(60)
                if cutter is not None:
                    cutter.stop()
            return words

        with LocalServer(engines=engines) as server:
            whole = transcribe(server.url, None)
            proxy = through(server.url)
            assert transcribe(proxy.url, proxy) == whole
            assert len(whole) == 4
            assert proxy.connections > 2


def _transcribe(
    url: str, pcm: bytes, speed: float, meanwhile: Callable[[], object] = lambda: None, **options: Any
) -> tuple[list[str], Any]:
    """Stream at a multiple of real time and finish; the transcripts, and the log with ``speech`` beginnings."""
    client = ASRClient(url=url, api_key="any", **options)
    log: Any = Log(client)
    log.speech = []
    words: list[str] = []
    client.on("conversation.item.input_audio_transcription.completed", lambda event: words.append(event.transcript))
    client.on("input_audio_buffer.speech_started", log.speech.append)
    client.connect()
    meanwhile()
    began, pause, block = time.monotonic(), threading.Event(), RATE // 5
    for start in range(0, len(pcm), block):
        client.append_audio(pcm[start : start + block])
        pause.wait(max(0.0, began + (start + block) / 2 / RATE / speed - time.monotonic()))
    client.append_audio(bytes(RATE * 2 * 2))
    client.finish(100)
    return words, log


class TestTranslation:
    """LiveTranslate: each utterance is answered once."""

    @pytest.mark.parametrize("modalities", [["text"], ["text", "audio"]])
    def test_cuts_at_random_moments(
        self, engines: Engines, through: Callable[..., Proxy], modalities: list[str]
    ) -> None:
        """The responses that are done say the same as without a cut, and the sound is as long."""
        pcm = minute_of_speech(13.0)
        with LocalServer(engines=engines) as server:
            whole, sound = _interpret(server.url, pcm, modalities, lambda: None)
            proxy = through(server.url)
            cutters: list[Cutter] = []
            again, joined = _interpret(
                proxy.url, pcm, modalities, lambda: cutters.append(Cutter(proxy, 6, 3, 0.1, 0.4))
            )
            cutters[0].stop()
        assert again == whole
        assert len(whole) >= 2
        assert abs(len(joined) - len(sound)) < 24000 * 2 / 10  # the voice is not the same twice to the sample
        assert proxy.connections > 3


def _interpret(url: str, pcm: bytes, modalities: list[str], meanwhile: Callable[[], object]) -> tuple[list[str], bytes]:
    texts: dict[str, str] = {}
    done: list[str] = []
    sound = bytearray()
    client = LiveTranslateClient(
        url=url, api_key="any", reconnect=AT_ONCE, modalities=modalities, translation={"language": "es"}
    )
    client.on("response.text.done", lambda event: texts.update({event.response_id: event.text}))
    client.on("response.audio_transcript.done", lambda event: texts.update({event.response_id: event.transcript}))
    client.on("response.done", lambda event: done.append(event.response.id))
    client.on("response.audio.delta", lambda event: sound.extend(event.delta))
    client.connect()
    meanwhile()
    began, pause, block = time.monotonic(), threading.Event(), RATE // 5
    for start in range(0, len(pcm), block):
        client.append_audio(pcm[start : start + block])
        pause.wait(max(0.0, began + (start + block) / 2 / RATE / 6 - time.monotonic()))
    client.append_audio(bytes(RATE * 2 * 2))
    client.finish(60)
    return [texts[each] for each in done], bytes(sound)
