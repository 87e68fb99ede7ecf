"""Language codes and guesses."""

from __future__ import annotations

import pytest

from qwen_realtime.server.engines.languages import code, guess


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("English", "en"),
        ("en-US", "en"),
        ("zh_CN", "zh"),
        ("Chinese", "zh"),
        ("auto", "auto"),
        ("Auto", "auto"),
        ("", "auto"),
        ("fi", "fi"),
    ],
)
def test_a_language_may_be_named_or_coded(name: str, expected: str) -> None:
    """The service has both ways in its settings."""
    assert code(name) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The train leaves at noon.", "en"),
        ("12:30", "en"),
        ("¿Dónde está la biblioteca?", "es"),
        ("Buenos días a todos", "es"),
        ("Où est la gare, s'il vous plaît ?", "fr"),
        ("Ich möchte nicht über die Straße gehen", "de"),
        ("Não sei onde você está", "pt"),
        ("Il treno è in ritardo", "it"),
        ("今天天气很好", "zh"),
        ("今日はいい天気です", "ja"),
        ("안녕하세요", "ko"),
        ("Доброе утро", "ru"),
    ],
)
def test_a_language_is_guessed_from_its_letters_and_words(text: str, expected: str) -> None:
    """Script decides first, then marks and common words; English where nothing tells."""
    assert guess(text) == expected
