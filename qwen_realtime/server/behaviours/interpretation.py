"""One utterance on its way to another language: what is confirmed, what is a draft, what is yet to be spoken."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping

from ... import events as ev
from ..engines.types import Translation
from ..responses import ResponseWriter
from .host import EngineSet

__all__ = ["Interpretation", "Interpreter"]


class Interpreter:
    """Translates with fixed terms.

    Args:
        engines: translate.
        source: language code.
        target: language code.
        phrases: source terms that are to be put in these target terms.
    """

    def __init__(self, engines: EngineSet, *, source: str, target: str, phrases: Mapping[str, str]) -> None:
        self._engines = engines
        self._source = source
        self._target = target
        self._terms = {term.lower(): translation for term, translation in phrases.items() if term}
        alternatives = "|".join(re.escape(term) for term in sorted(self._terms, key=len, reverse=True))
        self._split = re.compile(rf"(?<!\w)({alternatives})(?!\w)", re.IGNORECASE) if self._terms else None

    @property
    def is_same_language(self) -> bool:
        """Whether there is nothing to translate."""
        return self._source.split("-")[0].lower() == self._target.split("-")[0].lower()

    def translate(self, text: str) -> Translation:
        """Translate a text; the fixed terms as they are, the rest around them by the engine."""
        if not text.strip():
            return Translation("", "nothing to translate", rough=False)
        parts = self._split.split(text) if self._split is not None else [text]
        done = [self._translate_part(part) for part in parts if part.strip()]
        return Translation(
            " ".join(part.text.strip() for part in done), done[0].engine, rough=any(part.rough for part in done)
        )

    def _translate_part(self, part: str) -> Translation:
        term = self._terms.get(part.lower())
        if term is not None:
            return Translation(term, "corpus", rough=False)
        return self._engines.translate(part.strip(), source=self._source, target=self._target)


class Interpretation:
    """One utterance. What a rough engine makes of its parts stays a draft until the whole of it is known.

    Args:
        item_id: the source's.
        interpreter: translates.
        skips_text: no text is to be shown, since source and target language are the same.
        skips_audio: and no sound to be made.
    """

    def __init__(self, item_id: str, interpreter: Interpreter, *, skips_text: bool, skips_audio: bool) -> None:
        self.item_id = item_id
        self.skips_text = skips_text
        self.skips_audio = skips_audio
        self.source = ""  # confirmed and translated
        self.text = ""  # its translation
        self.stash = ""
        self.shown = ("", "")
        self.unspoken: deque[str] = deque()
        self.complete = False
        self.seconds = 0.0  # of sound
        self.writer: ResponseWriter | None = None
        self.transcript: ev.ConversationItemInputAudioTranscriptionCompleted | None = None
        self._interpreter = interpreter

    @property
    def has_text(self) -> bool:
        """Whether there is something to show."""
        return bool(self.text or self.stash)

    @property
    def is_silent(self) -> bool:
        """Whether nothing of it is to come out."""
        return self.skips_text and self.skips_audio

    def hear(self, confirmed: str, draft: str) -> None:
        """Take what was recognised so far."""
        new = confirmed[len(self.source) :]
        if new.strip():
            translation = self._interpreter.translate(new)
            if not translation.rough:
                self._confirm(confirmed, translation.text)
        stash = self._draft(confirmed[len(self.source) :] + draft)
        self.stash = self._lead + stash if stash else ""

    def _draft(self, source: str) -> str:
        translation = self._interpreter.translate(source)
        return "" if translation.engine == "none" else translation.text

    def end(self, source: str) -> None:
        """Take the whole of what was said; its translation is final."""
        new = source[len(self.source) :]
        if new.strip():
            self._confirm(source, self._interpreter.translate(new).text)
        self.stash = ""
        self.complete = True

    @property
    def _lead(self) -> str:
        return " " if self.text else ""

    def _confirm(self, source: str, translation: str) -> None:
        self.source = source
        self.text += self._lead + translation
        self.unspoken.append(translation)
