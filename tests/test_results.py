"""What the one-call helpers return."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import pytest

from qwen_realtime.errors import AudioError
from qwen_realtime.results import Segment, Speech, Transcript, Translation, Utterance, format_of, join_sentences
from qwen_realtime.server.behaviours.encoding import encoder


class TestSpeech:
    """Synthesised speech."""

    def test_pcm_is_whole_samples(self) -> None:
        """Half a sample at the end is none."""
        speech = Speech(bytes(4801), 24000)
        assert len(speech.pcm) == 4800
        assert speech.duration_ms == 100.0

    def test_it_becomes_a_wav_file(self, tmp_path: Path) -> None:
        """From PCM and from WAV alike."""
        speech = Speech(b"\x01\x02" * 100, 16000)
        again = Speech(speech.wav(), 16000, format="wav")
        assert again.pcm == speech.pcm
        again.save(tmp_path / "speech.wav")
        with wave.open(io.BytesIO((tmp_path / "speech.wav").read_bytes())) as file:
            assert file.getframerate() == 16000
            assert file.readframes(200) == speech.pcm

    def test_compressed_speech_is_saved_as_it_came(self, tmp_path: Path) -> None:
        """Whatever it is; what is no sound has no PCM."""
        speech = Speech(b"ID3mp3", 24000, format="mp3")
        speech.save(tmp_path / "speech.mp3")
        assert (tmp_path / "speech.mp3").read_bytes() == b"ID3mp3"
        for attempt in (lambda: speech.pcm, lambda: speech.duration_ms, speech.wav):
            with pytest.raises(AudioError, match="no mp3 sound"):
                attempt()

    @pytest.mark.parametrize("audio_format", ["mp3", "opus"])
    def test_compressed_speech_is_decoded_when_asked(self, audio_format: str, tmp_path: Path) -> None:
        """Its samples, its length, and a WAV file where the name says so."""
        made = encoder(audio_format, 16000)
        speech = Speech(made.feed(bytes(32000)) + made.finish(), 16000, format=audio_format)
        assert speech.duration_ms == pytest.approx(1000, abs=150)
        assert len(speech.pcm) == speech.duration_ms * 32
        speech.save(tmp_path / "speech.WAV")
        with wave.open(str(tmp_path / "speech.WAV")) as file:
            assert file.getframerate() == 16000
            assert file.readframes(99999) == speech.pcm

    def test_no_speech_is_empty(self) -> None:
        """In every format."""
        for audio_format in ("pcm", "wav", "mp3", "opus"):
            assert Speech(b"", 24000, format=audio_format).duration_ms == 0.0

    def test_its_repr_says_how_long_it_is(self) -> None:
        """And shows no audio."""
        assert repr(Speech(bytes(48000), 24000, text="Hello there.")) == "<Speech 1.00 s pcm 24000 Hz 'Hello there.'>"
        assert repr(Speech(b"ID3", 24000, format="mp3")) == "<Speech 3 bytes mp3 24000 Hz ''>"


@pytest.mark.parametrize(
    ("sentences", "joined"),
    [
        ([], ""),
        (["", "One.", "", " Two. "], "One. Two."),
        (["今天。", "明天。"], "今天。明天。"),
        (["今天。", "Today."], "今天。Today."),
        (["오늘.", "내일."], "오늘. 내일."),
    ],
    ids=str,
)
def test_sentences_are_joined_as_their_script_does(sentences: list[str], joined: str) -> None:
    """With a blank, but not in Chinese and Japanese."""
    assert join_sentences(sentences) == joined


def test_transcripts_and_translations_tell_all_their_text() -> None:
    """In the order of speaking."""
    assert Transcript((Utterance("One."), Utterance(""), Utterance("Two.")), 10.0).text == "One. Two."
    translation = Translation((Segment("One.", "Uno."), Segment("", "Dos.")), Speech(b"", 24000), 10.0)
    assert (translation.text, translation.source_text) == ("Uno. Dos.", "One.")


@pytest.mark.parametrize(
    ("name", "spoken"),
    [("a.mp3", "mp3"), ("a.OPUS", "opus"), ("b/a.ogg", "opus"), ("a.wav", None), ("a", None), (None, None)],
)
def test_a_files_name_tells_what_belongs_into_it(name: str | None, spoken: str | None) -> None:
    """Speech for a file named mp3 is asked for as mp3."""
    assert format_of(name) == spoken
