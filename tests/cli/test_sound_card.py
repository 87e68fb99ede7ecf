"""The commands on a sound card, end to end: a voice speaks into its microphone, and its loudspeaker is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qwen_realtime import synthesize
from qwen_realtime.audio import read_wav
from qwen_realtime.recording import read_trace
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines
from tests.virtual_audio import VirtualAudio, virtual_audio

from .conftest import KEY
from .terminal import Terminal

RATE = 48000
PAUSE = np.zeros(RATE * 2 // 5, np.int16)


@pytest.fixture(scope="module")
def card() -> Iterator[VirtualAudio]:
    """A virtual sound card; a machine without its programs is an error, never a skipped test."""
    with virtual_audio(RATE) as card:
        yield card


@pytest.fixture(scope="module")
def talking(qwen_realtime_engines: Engines) -> Iterator[LocalServer]:
    """A server that speaks and understands."""
    with LocalServer(engines=qwen_realtime_engines, api_key=KEY) as server:
        server.warm_up()
        yield server


@pytest.fixture(scope="module")
def question(talking: LocalServer) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Somebody asks a question, with a breath before and after."""
    asked = synthesize("What is seven plus five?", voice="Ethan", url=talking.url, api_key=KEY)
    return np.concatenate((PAUSE, read_wav(asked.wav(), sample_rate=RATE).samples, PAUSE))


@pytest.fixture(autouse=True)
def environment(talking: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It points to the server."""
    monkeypatch.setenv("QWEN_REALTIME_URL", talking.url)
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)


def _seconds(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> float:
    """How long sound was to be heard, in blocks of twenty milliseconds."""
    blocks = samples[: len(samples) // 960 * 960].reshape(-1, 960)
    return float(np.count_nonzero(np.abs(blocks.astype(np.int32)).max(axis=1) > 300)) / 50


def test_say_is_heard(card: VirtualAudio) -> None:
    """To the last word, with a line that counts along, and nothing of ALSA between."""
    with card.record() as loudspeaker, Terminal("say", "Good morning. How are you?") as terminal:
        assert terminal.end() == 0
        loudspeaker.wait_longer(0.3, RATE)
        heard = loudspeaker.stop()
    assert _seconds(heard) > 0.7
    assert "♪   0.2 of " in terminal.text
    assert "s of speech, first sound after" in terminal.text
    assert "ALSA" not in terminal.text


def test_a_conversation_by_voice(card: VirtualAudio, question: np.ndarray, tmp_path: Path) -> None:
    """Spoken question, spoken answer, both shown; the player's underruns are in the trace."""
    trace = tmp_path / "chat.jsonl"
    with card.record() as loudspeaker, Terminal("chat", "--trace", trace) as terminal:
        terminal.wait_for("speak")
        assert card.say(question).wait(20) == 0
        terminal.wait_for("That is twelve.")
        loudspeaker.wait_longer(1.5, RATE)
        terminal.press("\x04")
        assert terminal.end() == 0
        heard = loudspeaker.stop()
    assert "seven plus five" in terminal.text
    assert _seconds(heard) > 0.4
    assert "first sound after" in terminal.text
    assert [line.event["underruns"] for line in read_trace(trace).lines if line.type == "player"]


def test_push_to_talk(card: VirtualAudio, question: np.ndarray) -> None:
    """What is said before Enter is not sent; what is said between two Enters is answered."""
    with Terminal("chat", "--push-to-talk") as terminal:
        terminal.wait_for("Enter to speak")
        assert card.say(question).wait(20) == 0
        assert "seven" not in terminal.text
        terminal.press("\n")
        terminal.wait_for("Enter when you have said it")
        assert card.say(question).wait(20) == 0
        terminal.press("\n")
        terminal.wait_for("That is twelve.")
        terminal.press("\x04")
        assert terminal.end() == 0


def test_the_microphone_is_transcribed_until_enter(card: VirtualAudio, question: np.ndarray, tmp_path: Path) -> None:
    """As subtitles, for once."""
    path = tmp_path / "said.srt"
    with Terminal("transcribe", "-l", "en", "-o", path) as terminal:
        terminal.wait_for("listening")
        assert card.say(question).wait(20) == 0
        terminal.press("\n")
        assert terminal.end() == 0
    assert "1 utterance in" in terminal.text
    assert "seven plus five" in path.read_text().replace("\n", " ")


def test_an_interpreter_shows_and_speaks_both_languages(card: VirtualAudio, question: np.ndarray) -> None:
    """And does not hear itself."""
    with card.record() as loudspeaker, Terminal("translate", "--to", "es") as terminal:
        terminal.wait_for("listening")
        assert card.say(question).wait(20) == 0
        terminal.press("\n")
        assert terminal.end() == 0
        heard = loudspeaker.stop()
    assert "1 translation," in terminal.text
    assert "siete" in terminal.text
    assert _seconds(heard) > 0.4


def test_a_device_that_is_not_there_is_told_with_where_to_look(card: VirtualAudio) -> None:
    """And with the way out of the one that is missing, not of the other."""
    for arguments, told in (
        (("say", "Hi.", "--device", "none"), "no output device 'none' (qwen-realtime devices lists what there is, or"),
        (("chat", "--microphone", "none"), "no input device 'none' (qwen-realtime devices lists what there is, or"),
        (("chat", "--microphone", "none"), "or write: --text)"),
    ):
        with Terminal(*arguments, columns=200) as terminal:
            assert terminal.end() == 1
        assert told in terminal.text


def test_the_devices_are_listed_also_in_a_narrow_terminal(card: VirtualAudio) -> None:
    """With their numbers."""
    with Terminal("devices", columns=60) as terminal:
        assert terminal.end() == 0
    assert "vspeaker" in terminal.text
    assert max(map(len, terminal.text.splitlines())) <= 60


def test_the_doctor_hears_its_tone(talking: LocalServer) -> None:
    """Where the microphone hears the loudspeaker."""
    with virtual_audio(RATE, echo=True), Terminal("doctor", columns=60) as terminal:
        assert terminal.end() == 0
    assert "loop-back  the microphone hears the tone" in terminal.text
    assert max(map(len, terminal.text.splitlines())) <= 60
