"""The page made of a trace: what it knows, and how it behaves in a real browser."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen_realtime.recording import Recording, read_trace
from qwen_realtime.report import report_data, write_report

from .browser import Page, browser

SECOND = 32000  # bytes of the client's sound


class _Tape:
    """Writes a trace with times of its own."""

    def __init__(self, path: Path, model: str = "qwen3.5-omni-flash-realtime") -> None:
        self.path = path
        self._lines: list[dict[str, Any]] = []
        self.add(0.0, "trace", "trace.began", at="2026-05-01T10:00:00.000+00:00")
        self.add(0.1, "server", "session.created", session={"id": "s", "model": model})

    def add(self, t: float, direction: str, kind: str, **fields: Any) -> None:
        self._lines.append({"t": t, "dir": direction, "event": {"type": kind, **fields}})

    def hear(self, start: float, seconds: float, *, wire: float = 1.0, loud: int = 8000) -> None:
        """The client's sound, a tenth of a second at a time; ``wire`` is how long a second takes to be sent."""
        for number in range(round(seconds * 10)):
            t = start + (number + 1) / 10 * wire
            self.add(t, "client", "input_audio_buffer.append", audio=_sound(1600, loud))

    def speak(self, start: float, seconds: float, reply: str) -> None:
        """The server's sound, as fast as it comes."""
        for number in range(round(seconds * 10)):
            self.add(
                start + number / 1000, "server", "response.audio.delta", response_id=reply, delta=_sound(2400, 4000)
            )

    def save(self) -> Recording:
        text = "".join(json.dumps(line) + "\n" for line in sorted(self._lines, key=lambda line: line["t"]))
        self.path.write_text(text)
        return read_trace(self.path)


def _sound(samples: int, loud: int) -> str:
    return base64.b64encode(struct.pack("<h", loud) * samples).decode()


@pytest.fixture
def tape(tmp_path: Path) -> _Tape:
    """An empty trace of an Omni session."""
    return _Tape(tmp_path / "session.jsonl")


def _turn(tape: _Tape, at: float, number: int, *, said: str, answer: str) -> None:
    """One exchange: two seconds of speech, half a second of waiting, three seconds of reply."""
    tape.hear(at, 2.0)
    tape.add(at + 0.3, "server", "input_audio_buffer.speech_started", audio_start_ms=0)
    tape.add(at + 2.0, "server", "input_audio_buffer.speech_stopped")
    tape.add(at + 2.2, "server", "conversation.item.input_audio_transcription.completed", transcript=said)
    tape.add(at + 2.3, "server", "response.created", response={"id": f"r{number}"})
    tape.add(at + 2.4, "server", "response.audio_transcript.delta", response_id=f"r{number}", delta=answer)
    tape.speak(at + 2.5, 3.0, f"r{number}")
    tape.add(at + 2.6, "server", "response.audio_transcript.done", response_id=f"r{number}", transcript=answer)
    tape.add(at + 2.7, "server", "response.done", response={"id": f"r{number}", "status": "completed"})


def test_turns_and_waits_are_worked_out_from_the_times(tape: _Tape) -> None:
    """From the end of speech to the first text and the first sound; captions stand where it was said."""
    _turn(tape, 1.0, 1, said="What is two plus two?", answer="Four.")
    _turn(tape, 11.0, 2, said="Thank you.", answer="You are welcome.")
    data, speech = report_data(tape.save())
    assert [(turn["id"], turn["began"]) for turn in data["turns"]] == [("r1", 3.0), ("r2", 13.0)]
    assert data["waits"]["first_audio"] == [2, pytest.approx(500), pytest.approx(500)]
    assert data["waits"]["first_text"] == [2, pytest.approx(400), pytest.approx(400)]
    assert [caption[2:] for caption in data["captions"]] == [
        [0, "What is two plus two?"],
        [1, "Four."],
        [0, "Thank you."],
        [1, "You are welcome."],
    ]
    assert data["captions"][0][:2] == [pytest.approx(1.0), pytest.approx(3.0)]
    assert speech["client"].duration_ms == 4000
    assert speech["server"].duration_ms == 6000
    assert data["duration"] == pytest.approx(16.5)


def test_sound_in_real_time_stands_where_it_was_recorded(tape: _Tape) -> None:
    """One stretch for each time the microphone was open."""
    tape.hear(1.0, 2.0)
    tape.hear(10.0, 1.0)
    data, _ = report_data(tape.save())
    first, second = data["tracks"]["client"]["segments"]
    assert first == [pytest.approx(1.0), pytest.approx(3.0), 0, 32000]
    assert second == [pytest.approx(10.0), pytest.approx(11.0), 32000, 48000]


def test_after_a_break_speech_stands_where_it_was(tape: _Tape) -> None:
    """The new session counts from nought again."""
    for at in (1.0, 11.0):
        tape.hear(at, 2.0)
        tape.add(at + 1.6, "server", "input_audio_buffer.speech_started", audio_start_ms=500)
        tape.add(at + 2.0, "server", "input_audio_buffer.speech_stopped", audio_end_ms=1500)
        tape.add(at + 5.0, "server", "session.created", session={"id": "another"})
    data, _ = report_data(tape.save())
    assert data["speech"] == [
        [pytest.approx(1.5, abs=0.02), pytest.approx(2.5, abs=0.02)],
        [pytest.approx(11.5, abs=0.02), pytest.approx(12.5, abs=0.02)],
    ]


def test_sound_sent_faster_is_squeezed(tape: _Tape) -> None:
    """It must not run ahead of the events that answer it."""
    tape.hear(1.0, 60.0, wire=0.02)
    data, _ = report_data(tape.save())
    assert data["tracks"]["client"]["segments"][-1][1] == pytest.approx(2.2, abs=0.3)


def test_replies_are_drawn_as_they_are_played_and_cut_where_the_user_speaks(tape: _Tape) -> None:
    """Not as they arrive, all at once."""
    tape.speak(5.0, 10.0, "r1")
    tape.add(8.0, "server", "input_audio_buffer.speech_started", audio_start_ms=99_000)
    tape.speak(9.0, 1.0, "r2")
    data, _ = report_data(tape.save())
    first, second = data["tracks"]["server"]["segments"]
    assert first[:2] == [pytest.approx(5.0), pytest.approx(8.0)]
    assert first[3] - first[2] == 72000
    assert second[:2] == [pytest.approx(9.0), pytest.approx(10.0)]


def test_peaks_are_one_byte_for_ten_milliseconds(tape: _Tape) -> None:
    """As loud as the loudest sample."""
    tape.hear(1.0, 1.0, loud=-32768)
    tape.hear(2.0, 1.0, loud=128)
    data, _ = report_data(tape.save())
    peaks = np.frombuffer(data["tracks"]["client"]["peaks"], np.uint8)
    assert peaks.tolist() == [255] * 100 + [1] * 100


def test_underruns_errors_and_broken_messages_are_shown(tape: _Tape) -> None:
    """As far as they were recorded."""
    tape.add(1.0, "server", "error", error={"message": "no such voice"})
    tape.add(1.1, "server", "", undecodable_bytes=3, raw="AAAA")
    for t, underruns in ((1.2, 0), (1.3, 2), (1.4, 2)):
        tape.add(t, "note", "player", underruns=underruns)
    data, _ = report_data(tape.save())
    assert (data["underruns"], data["underrun_times"]) == (2, [1.3])
    assert [data["types"][event[2]] for event in data["events"]] == [
        *("session.created", "error", "(not JSON)", "player", "player", "player")
    ]
    assert data["events"][1][3] == "no such voice"
    assert data["events"][-1][3] == "underruns so far: 2"


@pytest.mark.parametrize(
    ("model", "text"), [("qwen3-tts-flash-realtime", "Say this."), ("qwen3-asr-flash-realtime", "")]
)
def test_every_family_has_a_page(tmp_path: Path, model: str, text: str) -> None:
    """Text to speak is a caption, too; compressed sound is left out of the picture."""
    tape = _Tape(tmp_path / "session.jsonl", model)
    tape.add(0.2, "server", "session.updated", session={"model": model, "response_format": "mp3"})
    tape.add(1.0, "client", "input_text_buffer.append", text=text)
    tape.speak(2.0, 1.0, "r")
    data, speech = report_data(tape.save())
    assert [caption[3] for caption in data["captions"]] == [text] * bool(text)
    assert speech["server"].pcm == b""


def test_a_page_needs_nothing_else(tape: _Tape) -> None:
    """No address but its own data, and no text that could break out of its script."""
    _turn(tape, 1.0, 1, said="</script><script>alert(1)</script><!--", answer="<b>no</b>")
    page = tape.path.with_suffix(".html")
    size = write_report(tape.save(), page)
    html = page.read_text(encoding="utf-8")
    assert size == len(html.encode())
    assert not re.search(r"(?:src|href)=.(?!data:)|https?://|@import|url\(", html)
    assert html.count("</script>") == 2
    assert write_report(tape.save(), page, with_audio=False) < size


def test_an_hour_of_silence_is_a_page_too(tape: _Tape) -> None:
    """Nothing was said and nothing answered."""
    tape.add(3600.0, "server", "session.finished")
    data, speech = report_data(tape.save())
    assert data["duration"] == 3600
    assert data["turns"] == data["captions"] == []
    assert speech["client"].pcm == b""


# In a browser.


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page in a real browser."""
    with browser() as page:
        yield page


def _opened(page: Page, recording: Recording, width: int = 1280, height: int = 800, **options: Any) -> None:
    path = recording.path.with_suffix(".html")
    write_report(recording, path, **options)
    page.open(path, width, height)


def test_the_page_draws_both_sides_and_their_captions(page: Page, tape: _Tape) -> None:
    """In windows of two sizes, nothing wider than the window."""
    _turn(tape, 1.0, 1, said="What is two plus two?", answer="Four.")
    recording = tape.save()
    for width, height in ((1280, 800), (640, 900)):
        _opened(page, recording, width, height)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("document.querySelectorAll('#turns tr').length") == 1
        assert "What is two plus two?" in page.evaluate("document.querySelector('#turns').textContent")
        inked = page.evaluate(
            "[[50, 100], [140, 220]].map(([a, b]) => { const c = $('timeline'), w = c.width - 70;"
            " const d = c.getContext('2d').getImageData(65, a, w, b - a).data, s = new Set();"
            " for (let i = 0; i < d.length; i += 4) s.add(d[i] + ',' + d[i + 1] + ',' + d[i + 2]); return s.size; })"
        )
        assert min(inked) > 2
    assert page.evaluate("document.querySelector('.turns').clientHeight") < 200  # no gap before what stands below it
    assert page.problems == []


def test_the_wheel_zooms_and_the_drag_moves(page: Page, tape: _Tape) -> None:
    """Around the pointer; Fit shows everything again."""
    _turn(tape, 1.0, 1, said="One.", answer="Two.")
    _turn(tape, 50.0, 2, said="Three.", answer="Four.")
    _opened(page, tape.save())
    box = page.evaluate("(({x, y, width, height}) => [x, y, width, height])($('timeline').getBoundingClientRect())")
    x, y = box[0] + box[2] / 2, box[1] + 60
    whole = page.evaluate("view")
    page.press("mouseWheel", x, y, deltaX=0, deltaY=-400)
    zoomed = page.evaluate("view")
    assert zoomed[1] - zoomed[0] < (whole[1] - whole[0]) * 0.8
    page.press("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    page.press("mouseMoved", x + 100, y, button="left", buttons=1)
    page.press("mouseReleased", x + 100, y, button="left", clickCount=1)
    assert page.evaluate("view")[0] < zoomed[0]
    page.press("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    page.press("mouseReleased", x, y, button="left", clickCount=1)
    assert page.evaluate("cursor") > 0
    page.evaluate("$('fit').click()")
    assert page.evaluate("view") == whole
    assert page.problems == []


def test_the_sound_plays_and_the_cursor_runs(page: Page, tape: _Tape) -> None:
    """From where the cursor is; without sound in the page there is nothing to press."""
    _turn(tape, 1.0, 1, said="One.", answer="Two.")
    recording = tape.save()
    _opened(page, recording)
    page.evaluate("cursor = 2; play()")
    assert page.evaluate("playing.sources.length") == 2
    page.evaluate("new Promise((done) => { const look = () => cursor > 2.1 ? done() : setTimeout(look, 20); look(); })")
    page.evaluate("pause()")
    assert page.evaluate("[cursor < 10, playing]") == [True, None]
    _opened(page, recording, with_audio=False)
    assert page.evaluate("$('play').disabled")
    assert page.problems == []


def test_ten_thousand_events_stay_quick(page: Page, tape: _Tape) -> None:
    """A draw takes a blink, the list holds only the rows in sight, and the filter finds one among them."""
    for number in range(9_990):
        tape.add(1 + number / 10, "server", "response.text.delta", response_id="r", delta=f"word {number}")
    tape.add(700.05, "server", "error", error={"message": "the needle"})
    _opened(page, tape.save())
    assert page.evaluate("document.documentElement.dataset.ready") == "9992"
    took = page.evaluate(
        "(() => { const t = performance.now(); for (let i = 0; i < 5; i++) draw();"
        " return (performance.now() - t) / 5; })()"
    )
    assert took < 250
    assert page.evaluate("document.querySelectorAll('.row').length") < 60
    page.evaluate("$('filter').value = 'needle'; filter()")
    assert page.evaluate("$('count').textContent") == "1 of 9,992"
    page.evaluate("document.querySelector('.row').click()")
    assert "the needle" in page.evaluate("$('detail').textContent")
    assert page.evaluate("view[0] <= cursor && cursor <= view[1] && cursor") == pytest.approx(700.05)
    assert page.problems == []
