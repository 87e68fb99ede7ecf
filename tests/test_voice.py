"""Where sound and events meet, without a sound card: what is played, dropped, sent and silenced."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen_realtime import (
    ASRClient,
    AudioPlayer,
    ConfigError,
    ConnectionClosed,
    DeviceError,
    LiveTranslateClient,
    Microphone,
    OmniClient,
    TTSClient,
)
from qwen_realtime.audio.fakes import ArrayInput, MemoryOutput
from qwen_realtime.audio.wav import read_wav
from qwen_realtime.recording import read_trace
from qwen_realtime.server import LocalServer
from qwen_realtime.server.behaviours.encoding import encoder
from tests.peer import Link, Peer, created
from tests.server.stage import StubEngines, StubSpeech

RATE = 24000
TONE = (8000 * np.sin(np.arange(RATE) / 20)).astype(np.int16)


class Speaking:
    """A scripted server whose test says what it sends, one step after the other."""

    def __init__(self, **session: Any) -> None:
        self.session = session
        self.link: Link | None = None
        self.ready = threading.Event()

    def __call__(self, link: Link) -> None:
        """Open a session and hold it."""
        link.accept()
        link.send(created("qwen3.5-omni-flash-realtime", **self.session))
        self.link = link
        self.ready.set()
        link.read_on()
        link.close()

    def send(self, event: str, **fields: Any) -> None:
        """Send an event."""
        assert self.ready.wait(5)
        assert self.link is not None
        self.link.send(event, **fields)

    def audio(self, response: str, samples: np.ndarray[Any, Any]) -> None:
        """Send audio of a response."""
        delta = base64.b64encode(samples.astype("<i2").tobytes()).decode()
        self.send("response.audio.delta", response_id=response, delta=delta)


def test_replies_are_played_to_the_last_sample(peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
    """What the server says comes out of the player unaltered, and its first sample's time is in the metrics."""
    server, output = Speaking(), MemoryOutput()
    client = clients(peers(server), OmniClient)
    with AudioPlayer(RATE, output=output) as player:
        player.attach(client)
        client.connect()
        server.send("response.created", response={"id": "r1"})
        with client.expect("response.done", timeout=5):
            server.audio("r1", TONE)
            server.send("response.done", response={"id": "r1", "status": "completed"})
        assert player.drain(10)
        assert player.played_ms == 1000
        assert np.array_equal(output.samples[: len(TONE)], TONE)
        client.metrics.settle()
        assert client.metrics.turns[0].first_heard is not None


def test_underruns_are_in_the_trace(peers: Callable[..., Peer], clients: Callable[..., Any], tmp_path: Path) -> None:
    """When they happen, and those that come after the session when they are asked for."""
    path = tmp_path / "trace.jsonl"
    server, output = Speaking(), MemoryOutput()
    client = clients(peers(server), OmniClient, trace=path)
    with AudioPlayer(RATE, output=output) as player:
        playing = player.attach(client)
        client.connect()
        server.audio("r1", TONE)
        assert output.wait_for_frames(len(TONE))
        while player.playing:  # it runs dry
            threading.Event().wait(0.01)
        with client.expect("response.done", timeout=5):
            server.audio("r1", TONE)
            server.send("response.done", response={"id": "r1"})
        assert player.underruns == 1
        client.close()
        player.write(TONE[:4800], "r1")
        player.drain()
        playing.note_underruns()
    notes = [line.event["underruns"] for line in read_trace(path).lines if line.type == "player"]
    assert notes[:2] == [0, 1]
    assert notes[-1] == player.underruns


def test_another_rate_is_resampled_as_one_piece(peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
    """A session at 48 kHz on a player at 24 kHz: as long as it was, with no break between deltas."""
    server, output = Speaking(audio={"output": {"format": {"sample_rate": 48000}}}), MemoryOutput()
    client = clients(peers(server), OmniClient)
    with AudioPlayer(RATE, output=output) as player:
        player.attach(client)
        client.connect()
        output.grip()  # so that it does not run dry between two deltas
        slow = (8000 * np.sin(np.arange(48000) / 40)).astype(np.int16)
        with client.expect("response.audio.done", timeout=5):
            for at in range(0, 48000, 4800):
                server.audio("r1", slow[at : at + 4800])
            server.send("response.audio.done", response_id="r1")
        output.let_go()
        assert player.drain(10)
        heard = output.samples[:RATE].astype(float)
        assert player.played_ms == pytest.approx(1000, abs=1)
        assert np.corrcoef(heard, TONE)[0, 1] > 0.999
        assert np.abs(np.diff(heard)).max() < 8000 / 20 * 1.1


class Singer(StubSpeech):
    """A voice that sings a tone for a second, whatever the text."""

    def give(self, seconds: float) -> None:
        """Sing, in pieces of 100 ms."""
        for at in range(0, RATE, RATE // 10):
            self._on_audio(TONE[at : at + RATE // 10].tobytes())


@pytest.mark.parametrize(("audio_format", "delay"), [("mp3", 1105), ("opus", 0), ("wav", 0)])
def test_every_format_is_played_as_sound(
    audio_format: str, delay: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From the local server to the loudspeaker: the tone that was spoken, and the speech can be had as a WAV file."""
    monkeypatch.setattr("tests.server.stage.StubSpeech", Singer)
    output = MemoryOutput()
    with LocalServer(engines=StubEngines()) as server, AudioPlayer(RATE, output=output) as player:
        client = TTSClient(url=server.url, api_key="k", response_format=audio_format, mode="commit")
        player.attach(client)
        output.grip()  # so that it does not run dry between two deltas
        with client:
            speech = client.say("La.")
        output.let_go()
        assert player.drain(10)
    heard = output.samples[delay : delay + RATE]
    assert np.corrcoef(heard[:-100], TONE[:-100])[0, 1] > 0.999
    assert player.played_ms == pytest.approx(speech.duration_ms, abs=1)
    assert speech.duration_ms == pytest.approx(1000, abs=100)
    assert np.array_equal(np.frombuffer(speech.pcm, np.int16)[delay : delay + RATE], heard)
    speech.save(tmp_path / "speech.wav")
    assert read_wav(tmp_path / "speech.wav").pcm == speech.pcm


@pytest.mark.parametrize("audio_format", ["mp3", "opus"])
def test_what_cannot_be_decoded_is_told_and_the_session_goes_on(
    audio_format: str, peers: Callable[..., Peer], clients: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of that response is heard, no handler fails, and the next response is played."""
    server, output = Speaking(response_format=audio_format), MemoryOutput()
    made = encoder(audio_format, RATE)
    sound = made.feed(TONE.tobytes()) + made.finish()
    client = clients(peers(server), TTSClient)
    with AudioPlayer(RATE, output=output) as player:
        player.attach(client)
        client.connect()
        for response, data in (("r1", bytes(4000)), ("r2", sound)):
            with client.expect("response.done", timeout=5):
                delta = base64.b64encode(data).decode()
                server.send("response.audio.delta", response_id=response, delta=delta)
                server.send("response.audio.done", response_id=response)
                server.send("response.done", response={"id": response})
        assert f"nothing of response r1 can be played: there is no {audio_format} sound" in caplog.text
        assert player.drain(10)
        assert player.played_ms == pytest.approx(1000, abs=100)
        assert client.handler_errors == 0


def test_the_interruption_does_not_wait_for_slow_handlers(
    peers: Callable[..., Peer], clients: Callable[..., Any]
) -> None:
    """With the handlers stuck, new speech still silences the player at once; what was on its way is dropped."""
    server, output = Speaking(turn_detection={"interrupt_response": True}), MemoryOutput()
    client = clients(peers(server), OmniClient)
    stuck, seen = threading.Event(), threading.Event()
    client.on("response.content_part.added", lambda _: stuck.wait(10))
    client.tap(lambda event: seen.set() if event.type == "input_audio_buffer.speech_started" else None)
    with AudioPlayer(RATE, output=output) as player:
        attachment = player.attach(client)
        client.connect()
        server.send("response.created", response={"id": "old"})
        server.audio("old", TONE)
        server.send("response.content_part.added", response_id="old")
        server.audio("old", TONE)  # waits behind the stuck handler
        assert output.wait_for_frames(4800)
        server.send("input_audio_buffer.speech_started", audio_start_ms=0, item_id="i")
        assert seen.wait(5)
        assert attachment.playout is not None
        assert player.buffered_ms < 50
        heard_ms = attachment.playout.heard_ms
        server.send("response.created", response={"id": "new"})
        with client.expect("response.done", timeout=5):
            server.audio("old", TONE)  # late
            server.audio("new", TONE[:4800])
            server.send("response.done", response={"id": "new"})
            stuck.set()
        assert player.drain(10)
        assert player.played_ms == pytest.approx(heard_ms + 200, abs=1)


@pytest.mark.parametrize(("flag", "cancels"), [(True, 0), (False, 1)])
def test_a_reply_is_cancelled_only_where_the_server_does_not(
    flag: bool, cancels: int, peers: Callable[..., Peer], clients: Callable[..., Any]
) -> None:
    """``interrupt_response`` says who cuts the reply."""
    server = Speaking(turn_detection={"type": "server_vad", "interrupt_response": flag})
    client = clients(peers(server), OmniClient)
    with AudioPlayer(RATE, output=MemoryOutput()) as player:
        player.attach(client)
        client.connect()
        server.send("response.created", response={"id": "r"})
        with client.expect("input_audio_buffer.speech_started", timeout=5):
            server.send("input_audio_buffer.speech_started", audio_start_ms=0, item_id="i")
        client.append_audio(bytes(2))  # so that all before it has been sent
        assert server.link is not None
        server.link.wait_for("input_audio_buffer.append")
        assert [event["type"] for event in server.link.events].count("response.cancel") == cancels


def test_an_interpreter_is_not_silenced_by_the_speaker(peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
    """LiveTranslate speaks while others do."""
    server = Speaking()
    client = clients(peers(server), LiveTranslateClient)
    with AudioPlayer(RATE, output=MemoryOutput()) as player:
        attachment = player.attach(client)
        client.connect()
        with client.expect("input_audio_buffer.speech_started", timeout=5):
            server.audio("r", TONE)
            server.send("input_audio_buffer.speech_started", audio_start_ms=0, item_id="i")
        assert attachment.playout is None
        assert player.drain(10)
        assert player.played_ms == 1000


def test_a_microphone_feeds_the_client(peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
    """Every sample heard is sent; pausing sends nothing, and the feed ends with the source."""
    server = Speaking()
    client = clients(peers(server), OmniClient)
    client.connect()
    sound = np.arange(16000, dtype=np.int16)
    with Microphone(16000, source=ArrayInput(sound, 16000, speed=None)) as microphone:
        feed = microphone.attach(client)
        feed._thread.join(5)
        assert feed.sent_ms == 1000
    assert server.link is not None
    client.send({"type": "last"})
    server.link.wait_for("last")
    sent = b"".join(base64.b64decode(event["audio"]) for event in server.link.events if "audio" in event)
    assert sent == sound.tobytes()


def test_the_feed_ends_with_a_microphone_that_is_lost(
    peers: Callable[..., Peer], clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The microphone has told it; nothing is left unhandled in the feed's thread."""

    class Unplugged(ArrayInput):
        def read(self) -> Any:
            raise DeviceError("unplugged")

    monkeypatch.setattr("qwen_realtime.audio.lost.REOPEN_DELAYS_S", ())
    client = clients(peers(Speaking()), OmniClient).connect()
    with Microphone(16000, source=Unplugged(np.zeros(16000, np.int16), 16000)) as microphone:
        feed = microphone.attach(client)
        feed._thread.join(5)
        assert not feed._thread.is_alive()
        assert isinstance(microphone.error, DeviceError)


def test_half_duplex_sends_silence_while_the_player_plays(
    peers: Callable[..., Peer], clients: Callable[..., Any]
) -> None:
    """The same length goes out, so that the session's clock runs on, but none of the sound."""
    server, output = Speaking(), MemoryOutput()
    client = clients(peers(server), OmniClient)
    with AudioPlayer(RATE, output=output) as player:
        output.grip()
        player.attach(client)
        client.connect()
        player.write(TONE)
        assert output.grant(1)
        with Microphone(16000, source=ArrayInput(np.full(16000, 1000, np.int16), 16000, speed=None)) as microphone:
            feed = microphone.attach(client, echo="half-duplex")
            feed._thread.join(5)
        output.let_go()
        client.send({"type": "last"})
        assert server.link is not None
        server.link.wait_for("last")
        sent = b"".join(base64.b64decode(event["audio"]) for event in server.link.events if "audio" in event)
        assert sent == bytes(32000)


def test_what_cannot_be_is_refused(peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
    """A client that is silent, deaf, not connected or of another rate; an echo that is none, or without a player."""
    with AudioPlayer(RATE, output=MemoryOutput()) as player, pytest.raises(ConfigError, match="does not speak"):
        player.attach(clients(peers(), ASRClient))
    microphone = Microphone(24000, source=ArrayInput(TONE, RATE))
    with pytest.raises(ConfigError, match="does not hear"):
        microphone.attach(clients(peers(), TTSClient))
    client = clients(peers(), ASRClient)
    with pytest.raises(ConnectionClosed, match="not connected"):
        microphone.attach(client)
    client.connect()
    with pytest.raises(ConfigError, match="24000 Hz and the session reads 16000 Hz"):
        microphone.attach(client)
    right = Microphone(16000, source=ArrayInput(TONE, RATE))
    with pytest.raises(ConfigError, match="'headphones', 'half-duplex' or 'cancel'"):
        right.attach(client, echo="loud")
    with pytest.raises(ConfigError, match="needs the player"):
        right.attach(client, echo="half-duplex")
    microphone.close()
    right.close()


def test_echo_cancelling_takes_the_player_out_of_the_microphone() -> None:
    """A loudspeaker's sound 80 ms later in the microphone is at least 15 dB weaker after some seconds."""
    from qwen_realtime.echo import EchoCanceller

    class Clock:
        """A player that only notes its monitor."""

        sample_rate = 16000
        monitor: Callable[[Any, float], None]

    player = Clock()
    canceller = EchoCanceller(player, 16000)  # type: ignore[arg-type]
    chance = np.random.default_rng(3)
    envelope = 0.2 + 0.8 * np.abs(np.sin(np.arange(16000 * 8) / 2000))
    played = (chance.normal(0, 3000, 16000 * 8) * envelope).astype(np.int16)
    echo = np.concatenate((np.zeros(1280, np.int16), (played * 0.5).astype(np.int16)))
    left, heard, began = [], [], time.monotonic()
    for at in range(0, len(played), 1600):
        heard_at = began + at / 16000
        ahead = played[at + 1600 : at + 3200] if at else played[:3200]  # a device is given its sound in advance
        player.monitor(ahead, heard_at + (0.1 if at else 0.0))
        near = echo[at : at + 1600]
        late = chance.uniform(0, 0.02)  # the system does not wake a thread in time
        left.append(np.frombuffer(canceller.process(near.tobytes(), heard_at + 0.1 + late), np.int16))
        heard.append(near)
    before = np.concatenate(heard[50:]).astype(float)
    after = np.concatenate(left[50:]).astype(float)
    assert 10 * np.log10(np.mean(before**2) / (np.mean(after**2) + 1e-9)) > 15


def test_echo_cancelling_without_its_library_says_what_to_type() -> None:
    """The extra ``aec`` is named."""
    program = """
import sys
sys.modules["pywebrtc_audio"] = None
from qwen_realtime import AudioPlayer, AudioUnavailable
from qwen_realtime.audio.fakes import MemoryOutput
from qwen_realtime.echo import EchoCanceller
try:
    EchoCanceller(AudioPlayer(output=MemoryOutput()), 16000)
except AudioUnavailable as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert "qwen-realtime[aec]" in told.stdout
