"""Voice chat on the virtual sound card: barge-in measured at the loudspeaker, and a whole conversation."""

from __future__ import annotations

import base64
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from qwen_realtime import AudioPlayer, Microphone, OmniClient, TTSClient
from qwen_realtime.audio.devices import PyAudioOutput
from qwen_realtime.audio.pcm import resample
from qwen_realtime.server import LocalServer
from tests.audio.punctual import in_real_time
from tests.audio.sounds import find, noise
from tests.peer import Link, Peer, created

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_realtime.audio.player import AudioPlayer as Player
    from tests.virtual_audio import VirtualAudio

RATE = 24000
BLOCK_MS = 20
BARGE_INS = 10


class Server:
    """A scripted server that speaks noise without end, and notices when told to that the user speaks."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.ready = threading.Event()

    def script(self, link: Link) -> None:
        """Open a session and hold it."""
        link.accept()
        link.send(created("qwen3.5-omni-flash-realtime", turn_detection={"interrupt_response": True}))
        self.link = link
        self.ready.set()
        link.stop.wait(60)

    def reply(self, number: int, sound: NDArray[np.int16]) -> None:
        """Send a whole reply at once, as a generous server does."""
        assert self.link is not None
        self.link.send("response.created", response={"id": f"resp_{number}"})
        for at in range(0, len(sound), 2400):
            delta = base64.b64encode(sound[at : at + 2400].tobytes()).decode()
            self.link.send("response.audio.delta", response_id=f"resp_{number}", delta=delta)
        self.link.send("response.done", response={"id": f"resp_{number}", "status": "completed"})


def latency_of(card: VirtualAudio) -> float:
    """From giving a block to the device to hearing it at the monitor, in seconds of the recording."""
    output = PyAudioOutput()
    output.open(RATE, BLOCK_MS)
    block = RATE * BLOCK_MS // 1000
    click = noise(BLOCK_MS / 1000, RATE, 99)
    with card.record() as recording:
        for _ in range(40):
            output.write(np.zeros(block, np.int16))
        before = len(recording.samples)
        output.write(click)
        for _ in range(40):
            output.write(np.zeros(block, np.int16))
        recording.wait_longer(0.3, RATE)
        at = find(recording.samples, click)
    output.close()
    assert at >= 0
    return (at - before) / RATE


@in_real_time
def test_barge_in_is_silent_within_a_block_and_the_device(sound_card: VirtualAudio) -> None:
    """From the frame that says the user speaks to silence at the loudspeaker: a block more than the device takes."""
    latency = latency_of(sound_card)
    server, waits = Server(), []
    with closing(Peer(server.script)) as peer, AudioPlayer(RATE, block_ms=BLOCK_MS) as player:
        client = OmniClient(url=peer.url, api_key="any")
        attachment = player.attach(client)
        client.connect()
        assert server.ready.wait(5)
        assert server.link is not None
        with sound_card.record() as recording:
            for number in range(BARGE_INS):
                sound = noise(30.0, RATE, number)
                begin = len(recording.samples)
                server.reply(number, sound)
                heard_from = wait_until_heard(recording, sound, begin, 0.4)
                told_at = len(recording.samples)
                server.link.send("input_audio_buffer.speech_started", audio_start_ms=0, item_id=f"item_{number}")
                recording.wait_longer(0.6, RATE)
                heard = recording.samples
                last = begin + int(np.flatnonzero(heard[begin:])[-1])
                waits.append((last - told_at) / RATE)
                # nothing but this reply was heard, and it was cut, not finished
                length = last + 1 - heard_from - 120  # the fade is another sound
                assert np.array_equal(heard[heard_from : heard_from + length], sound[:length])
            assert attachment.playout is not None
            assert player.buffered_ms == 0
        client.close()
    p95 = sorted(waits)[-1]
    print(f"\ndevice {latency * 1000:.0f} ms; barge-in to silence: median {np.median(waits) * 1000:.0f} ms, ", end="")
    print(f"longest of {BARGE_INS} {p95 * 1000:.0f} ms")
    assert p95 <= latency + BLOCK_MS / 1000, waits


def wait_until_heard(recording: object, sound: NDArray[np.int16], begin: int, seconds: float) -> int:
    """Wait until so much of a sound has been heard; return where it begins in the recording."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        recording.wait_longer(0.05, RATE)  # type: ignore[attr-defined]
        heard = recording.samples[begin:]  # type: ignore[attr-defined]
        at = find(heard, sound)
        if at >= 0 and len(heard) - at > seconds * RATE:
            return begin + at
    raise AssertionError("the reply was not heard")


def test_a_conversation_through_microphone_and_loudspeaker(sound_card: VirtualAudio) -> None:
    """Three spoken turns, the second reply interrupted: transcripts, replies and metrics are right."""
    heard: list[str] = []
    replies: list[str] = []
    with LocalServer() as server, AudioPlayer(RATE) as player, Microphone(16000) as microphone:
        where = {"url": server.url, "api_key": "any"}
        questions = ["What is seven plus five?", "Tell me a story.", "What is three plus four?"]
        spoken = [said(question, where) for question in questions]
        client = OmniClient(**where)
        player.attach(client)
        client.on("conversation.item.input_audio_transcription.completed", lambda event: heard.append(event.transcript))
        client.on("response.audio_transcript.done", lambda event: replies.append(event.transcript))
        with client:
            microphone.attach(client)
            ask(sound_card, client, spoken[0])
            assert player.drain(20)
            ask(sound_card, client, spoken[1], until="response.audio.delta")
            wait_until_playing(player)
            before = player.played_ms
            ask(sound_card, client, spoken[2])  # speaks over the story
            assert player.drain(20)
            assert player.played_ms > before
            summary = client.metrics.summary()
            turns = list(client.metrics.turns)
            client.close()
    print("\n", heard, replies, {what: round(spread.p50) for what, spread in summary.items()})
    assert [words in text for words, text in zip(["seven", "story", "three"], heard, strict=True)] == [True] * 3
    assert "twelve" in replies[0]
    assert "seven" in replies[-1]
    assert len(turns) == 3
    for turn in (turns[0], turns[2]):
        assert turn.speech_stopped is not None
        assert turn.first_audio is not None
        assert turn.first_heard is not None
        assert turn.speech_stopped < turn.first_audio < turn.first_heard
    assert summary["first_heard"].count == 3


def said(text: str, where: dict[str, str]) -> NDArray[np.int16]:
    """A question as sound, at the card's rate, with the silence after it that ends an utterance."""
    with TTSClient(voice="Ethan", mode="commit", sample_rate=16000, **where) as client:
        speech = client.say(text)
    samples = resample(np.frombuffer(speech.pcm, np.int16), 16000, RATE)
    return np.concatenate((samples, np.zeros(RATE * 3 // 2, np.int16)))


def ask(card: VirtualAudio, client: OmniClient, sound: NDArray[np.int16], until: str = "response.done") -> None:
    """Say something into the microphone and wait for the reply to come."""
    with client.expect(until, timeout=20):
        card.say(sound).wait(20)


def wait_until_playing(player: Player) -> None:
    """Wait until the reply can be heard."""
    deadline = time.monotonic() + 10
    while not player.playing and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert player.playing
