"""What a response costs, estimated as the recordings show it."""

from __future__ import annotations

import math
import unicodedata

from ..events import UNSET, Usage

__all__ = ["audio_tokens", "characters", "make_usage", "text_tokens"]

SPEECH_TOKENS_PER_S = 12.5


def _is_wide(character: str) -> bool:
    return unicodedata.category(character) == "Lo" and ord(character) > 0x2E7F


def characters(text: str) -> int:
    """Count characters as TTS bills them: a Chinese, Japanese or Korean one is two, all others are one."""
    return sum(2 if _is_wide(character) else 1 for character in text)


def text_tokens(text: str) -> int:
    """Estimate tokens: the recorded 13 Chinese characters were 8; other scripts take about four letters a token."""
    wide = sum(map(_is_wide, text))
    return math.ceil(0.6 * wide + 0.25 * (len(text) - wide))


def audio_tokens(seconds: float, per_second: float = SPEECH_TOKENS_PER_S) -> int:
    """Tokens of sound: 12.5 a second in the recordings, begun ones counted."""
    return math.ceil(round(seconds * per_second, 6))


def make_usage(input_tokens: dict[str, int], output_tokens: dict[str, int]) -> Usage:
    """Return a usage object from token counts by kind (``text_tokens``, ``audio_tokens``, ``video_tokens``).

    Kinds that are zero are left out, as the service does, except the text.
    """
    inputs = {kind: count for kind, count in input_tokens.items() if count or kind == "text_tokens"}
    outputs = {kind: count for kind, count in output_tokens.items() if count or kind == "text_tokens"}
    return Usage(
        characters=UNSET,
        total_tokens=sum(inputs.values()) + sum(outputs.values()),
        input_tokens=sum(inputs.values()),
        output_tokens=sum(outputs.values()),
        input_tokens_details=inputs,
        output_tokens_details=outputs,
    )
