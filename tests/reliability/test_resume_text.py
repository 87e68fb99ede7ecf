"""TTS across breaks: every sentence exactly once, to the sample."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from qwen_realtime import TTSClient, events
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines

from ..peer import Peer
from ..proxy import Proxy, Way
from .speech import coded_sentences, coded_voice, sentence, spoken_sentences
from .tools import AT_ONCE, Cutter, Log


class TestText:
    """TTS: every sentence exactly once, to the sample."""

    @pytest.mark.parametrize(
        ("mode", "seed"), [("server_commit", 1), ("server_commit", 2), ("commit", 3), ("commit", 4)]
    )
    def test_twenty_cuts_at_random_moments(
        self,
        peers: Callable[..., Peer],
        clients: Callable[..., Any],
        through: Callable[..., Proxy],
        mode: str,
        seed: int,
    ) -> None:
        """Nothing is missing, nothing comes twice, and a response keeps its id."""
        proxy = through(peers(coded_voice).url)
        client = clients(proxy, reconnect=AT_ONCE, mode=mode)
        log = Log(client)
        audio = bytearray()
        responses: list[str] = []
        client.on("response.audio.delta", lambda event: audio.extend(event.delta))
        client.on("response.audio.delta", lambda event: responses.append(event.response_id))
        done: list[str] = []
        client.on("response.done", lambda event: done.append(event.response.id))
        client.connect()
        cutter = Cutter(proxy, 20, seed, 0.01, 0.1)
        pause = threading.Event()
        for number in range(40):
            client.append_text(sentence(number))
            if mode == "commit" and number % 2:
                client.commit()
            pause.wait(0.03)
        assert cutter.join() == 20
        client.finish(30)
        assert spoken_sentences(bytes(audio)) == [(number, 1200) for number in range(40)]
        assert bytes(audio) == coded_sentences(range(40))
        assert list(dict.fromkeys(responses)) == done
        assert proxy.connections > 20
        assert len(log.of("reconnected")) > 5, "some of the cuts hit a try to come back"
        assert all(event.lost == events.Lost() for event in log.of("reconnected"))

    def test_say_is_whole_across_a_break(
        self, peers: Callable[..., Peer], clients: Callable[..., Any], through: Callable[..., Proxy]
    ) -> None:
        """One call, one sound, whatever happened meanwhile."""
        proxy = through(peers(coded_voice).url, down=Way(cut_at=12_000), faulty=3)
        client = clients(proxy, reconnect=AT_ONCE, mode="commit").connect()
        speech = client.say("".join(map(sentence, range(10))), 20)
        assert spoken_sentences(speech.pcm) == [(number, 1200) for number in range(10)]
        assert proxy.connections == 4
        client.close()

    def test_the_local_servers_voice_is_joined_to_the_sample(
        self, tones: Engines, through: Callable[..., Proxy]
    ) -> None:
        """The same sound as without a cut."""
        text = "The first sentence is here. The second one follows it. The third one is the last of all."
        with LocalServer(engines=tones) as server:

            def speak(url: str) -> bytes:
                audio = bytearray()
                client = TTSClient(url=url, api_key="any", reconnect=AT_ONCE)
                client.on("response.audio.delta", lambda event: audio.extend(event.delta))
                with client:
                    client.append_text(text)
                return bytes(audio)

            whole = speak(server.url)
            proxy = through(server.url, down=Way(cut_at=60_000), faulty=2)
            assert speak(proxy.url) == whole
            assert proxy.connections == 3

    def test_text_from_several_threads_is_all_spoken(
        self, peers: Callable[..., Peer], clients: Callable[..., Any], through: Callable[..., Proxy]
    ) -> None:
        """Whatever the order, each sentence once and in one piece."""
        proxy = through(peers(coded_voice).url)
        client = clients(proxy, reconnect=AT_ONCE)
        audio = bytearray()
        client.on("response.audio.delta", lambda event: audio.extend(event.delta))
        client.connect()
        cutter = Cutter(proxy, 10, 5, 0.01, 0.1)

        def speak(first: int) -> None:
            for number in range(first, first + 20):
                client.append_text(sentence(number))
                threading.Event().wait(0.02)

        threads = [threading.Thread(target=speak, args=(first,)) for first in (0, 20, 40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert cutter.join() == 10
        client.finish(30)
        assert sorted(spoken_sentences(bytes(audio))) == [(number, 1200) for number in range(60)]
