"""ASR and LiveTranslate across breaks: the same words as without one, none twice."""

from __future__ import annotations

import json
import random
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from qwen_realtime import ASRClient, LiveTranslateClient, events
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines

from ..proxy import Proxy
from .fingerprints import Fingerprints, fingerprint
from .speech import human_speech
from .tools import AT_ONCE, Cutter, Log
from .words import stream


class TestSpeechRecognition:
    """ASR: the same words as without a cut, none twice."""

    def test_a_minute_cut_twenty_times(self, words: subprocess.Popen[str]) -> None:
        """For three seeds; real words of real people, see :mod:`.words`."""
        told, complaint = words.communicate(timeout=400)
        assert words.returncode == 0, complaint
        whole, *others = json.loads(told)
        assert len(" ".join(whole["words"]).split()) > 60
        assert [outcome["seed"] for outcome in others] == [1, 2, 3]
        for outcome in others:
            assert outcome["words"] == whole["words"]
            assert outcome["cuts"] == 20
            assert outcome["connections"] >= 21
            assert (outcome["lost_ms"], outcome["lost_events"]) == (0, 0)
            assert outcome["starts_ms"] == sorted(outcome["starts_ms"]), "positions are on the first connection's clock"

    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_committed_utterances_come_again_bit_for_bit(self, through: Callable[..., Proxy], seed: int) -> None:
        """Whatever was committed and not transcribed is sent and committed again, and heard as the same bytes."""
        rng = random.Random(seed)  # noqa: S311 - no secret
        pieces = [rng.randbytes(2 * rng.randrange(1, 8_000)) for _ in range(60)]
        ears = Fingerprints(0.02)
        with LocalServer(engines=ears.engines) as server:
            proxy = through(server.url)
            client = ASRClient(url=proxy.url, api_key="any", turn_detection=None, reconnect=AT_ONCE)
            log = Log(client)
            words: list[str] = []
            client.on("conversation.item.input_audio_transcription.completed", lambda e: words.append(e.transcript))
            with client:
                cutter = Cutter(proxy, 20, seed, 0.01, 0.06)
                pause = threading.Event()
                for piece in pieces:
                    for start in range(0, len(piece), 3_200):
                        client.append_audio(piece[start : start + 3_200])
                    client.commit()
                    pause.wait(0.01)
                assert cutter.join() == 20
                client.finish(30)
        assert words == [fingerprint(piece) for piece in pieces]
        assert proxy.connections > 20
        assert len(log.of("reconnected")) > 5, "some of the cuts hit a try to come back"
        assert all(event.lost == events.Lost() for event in log.of("reconnected"))


class TestTranslation:
    """LiveTranslate: each utterance is answered once."""

    @pytest.mark.parametrize("modalities", [["text"], ["text", "audio"]])
    def test_cuts_at_random_moments(
        self, engines: Engines, through: Callable[..., Proxy], modalities: list[str]
    ) -> None:
        """The responses that are done say the same as without a cut, and the sound is as long."""
        pcm = human_speech(11.5, 1.0)
        cutters: list[Cutter] = []
        with LocalServer(engines=engines) as server, ThreadPoolExecutor(1) as pool:
            uncut = pool.submit(_interpret, server.url, pcm, modalities, lambda: None)
            proxy = through(server.url)
            again, joined = _interpret(
                proxy.url, pcm, modalities, lambda: cutters.append(Cutter(proxy, 6, 3, 0.1, 0.4))
            )
            cutters[0].stop()
            whole, sound = uncut.result(100)
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
    stream(client, pcm)
    client.finish(60)
    return [texts[each] for each in done], bytes(sound)
