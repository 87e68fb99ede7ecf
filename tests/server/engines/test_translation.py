"""Translation: Apertium, the phrase table, and honest marks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from qwen_realtime.server.engines import Engines, Translation
from qwen_realtime.server.engines.apertium import ResidentPair, find_mode, parse_mode
from qwen_realtime.server.engines.phrases import LANGUAGES, translate
from qwen_realtime.server.engines.translation import Translator


@pytest.fixture(scope="module")
def to_spanish() -> Iterator[ResidentPair]:
    """English to Spanish, kept running."""
    stages = find_mode("eng", "spa")
    assert stages is not None, "apt-get install apertium apertium-eng-spa"
    pair = ResidentPair(stages)
    yield pair
    pair.close()


def test_both_directions_are_translated(engines: Engines) -> None:
    """The pair that Debian has works both ways, under codes and names."""
    assert engines.translate("I have a red house.", source="en", target="es") == Translation(
        "Tengo una casa roja.", "Apertium", rough=False
    )
    assert engines.translate("Tengo una casa roja.", source="Spanish", target="English").text == "Have a red house."
    assert engines.translate("¿Dónde está mi casa?", source="auto", target="en").engine == "Apertium"


def test_markup_and_odd_characters_survive(to_spanish: ResidentPair) -> None:
    """The stream format's own marks are text like any other, and unknown words carry no mark."""
    for text in ("[b] {c} <d> ^e$ / @ \\ # *", "😀", "xyzzyfoo"):
        assert to_spanish.translate(text) == text
    assert to_spanish.translate("one\ntwo") == "Uno\ndos"
    assert "\0" not in to_spanish.translate("nul\0byte")
    assert to_spanish.translate("") == ""


def test_a_long_text_comes_back_whole(to_spanish: ResidentPair) -> None:
    """More than a pipe holds goes through without a deadlock."""
    assert to_spanish.translate("I have a red house. " * 5000).count("casa") == 5000


def test_a_stage_that_dies_is_replaced(to_spanish: ResidentPair) -> None:
    """The next text after a crash is translated by new processes."""
    to_spanish.translate("house")
    before = to_spanish.pids
    assert len(before) == len(find_mode("eng", "spa") or [])
    os.kill(before[3], signal.SIGKILL)
    assert to_spanish.translate("house") == "Casa"
    # Where the kernel was slower than we, a stage's end is seen with the next text.
    assert to_spanish.translate("garden") == "Jardín"
    assert not set(before) & set(to_spanish.pids)


def test_many_threads_get_their_own_answers(to_spanish: ResidentPair) -> None:
    """Question and answer stay together."""
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        answers[number] = to_spanish.translate(f"I have {number} houses")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert answers == {number: f"Tengo {number} casas" for number in range(20, 40)}


def test_a_failing_translator_leaves_the_phrase_table() -> None:
    """A closed or broken pair is no reason for an exception in a session."""
    translator = Translator("apertium")
    translator.translate("house", source="en", target="es")
    pids = translator.pids
    translator.close()
    assert translator.translate("Good morning!", source="en", target="es") == Translation(
        "¡Buenos días!", "phrase table", rough=True
    )
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_nobody_can_translate_is_marked() -> None:
    """A pair without any engine returns the source behind a mark."""
    translator = Translator("phrases")
    assert translator.translate("Snow falls.", source="en", target="fi") == Translation(
        "[no translation en>fi] Snow falls.", "none", rough=True
    )
    assert translator.translate("Snow falls.", source="en", target="es").rough
    assert translator.translate("Snow falls.", source="en", target="en").text == "Snow falls."
    assert translator.translate("?!", source="en", target="fi").text == "?!"


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("Thank you!", "de", "Danke!"),
        ("hello. How are you?", "es", "Hola. ¿Cómo está usted?"),
        ("Where is the station?", "zh", "车站在哪里？"),
        ("good evening", "fr", "Bonsoir"),
    ],
)
def test_phrases_keep_their_punctuation(text: str, target: str, expected: str) -> None:
    """Sentence by sentence, with the target's own marks."""
    assert translate(text, "en", target) == expected


def test_a_phrase_needs_every_sentence() -> None:
    """Half a translation would look like a whole one."""
    assert translate("Hello. The cat sat on the mat.", "en", "es") is None
    assert translate("...", "en", "es") is None
    assert translate("hello", "en", "fi") is None


def test_every_phrase_is_there_in_every_language() -> None:
    """No row of the table is short."""
    for source in LANGUAGES:
        for target in LANGUAGES:
            assert translate(
                "Good morning" if source == "en" else translate("good morning", "en", source) or "", source, target
            )


def test_a_mode_with_an_unknown_program_is_refused() -> None:
    """A program that cannot be flushed would swallow the answer."""
    assert parse_mode("sed s/a/b/") is None
    assert parse_mode("lt-proc 'a b.bin' | lt-proc $1 c.bin") == [
        ["lt-proc", "-z", "a b.bin"],
        ["lt-proc", "-z", "-n", "c.bin"],
    ]
