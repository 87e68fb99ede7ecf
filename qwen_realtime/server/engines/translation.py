"""Text to text: Apertium for English and Spanish, the phrase table for what little it has, and a mark for the rest."""

from __future__ import annotations

import logging

from qwen_realtime.errors import RealtimeError

from . import phrases
from .apertium import ResidentPair, find_mode
from .languages import code, guess
from .types import Translation

_log = logging.getLogger("qwen_realtime.server.engines")
_PAIRS = {("en", "es"): ("eng", "spa"), ("es", "en"): ("spa", "eng")}


class Translator:
    """Translates with what there is.

    Args:
        engine: ``apertium`` or ``phrases``.
    """

    def __init__(self, engine: str) -> None:
        self._pairs: dict[tuple[str, str], ResidentPair] = {}
        if engine == "apertium":
            for languages, codes in _PAIRS.items():
                stages = find_mode(*codes)
                if stages is not None:
                    self._pairs[languages] = ResidentPair(stages)

    @property
    def pids(self) -> list[int]:
        """The process ids of all running stages."""
        return [pid for pair in self._pairs.values() for pid in pair.pids]

    def translate(self, text: str, *, source: str, target: str) -> Translation:
        """Translate a text; blocks for 5 s at the very most. Never raises: what cannot be translated is marked."""
        source, target = code(source), code(target)
        if source == "auto":
            source = guess(text)
        if source == target or not any(character.isalnum() for character in text):
            return Translation(text, "nothing to translate", rough=False)
        pair = self._pairs.get((source, target))
        if pair is not None:
            try:
                return Translation(pair.translate(text), "Apertium", rough=False)
            except RealtimeError as error:
                _log.warning("%s; the phrase table stands in", error)
        phrase = phrases.translate(text, source, target)
        if phrase is not None:
            return Translation(phrase, "phrase table", rough=True)
        return Translation(f"[no translation {source}>{target}] {text}", "none", rough=True)

    def close(self) -> None:
        """End the processes. Idempotent."""
        for pair in self._pairs.values():
            pair.close()
