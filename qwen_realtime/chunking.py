"""Text from a language model: cut into pieces that can be spoken, and fed to a client while it still comes.

:class:`Chunker` is pure: no clock, no thread. :class:`Feed` adds the clock, and sends.
"""

from __future__ import annotations

import re
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable

from .errors import ConfigError
from .locks import Condition

__all__ = ["Chunker", "Feed"]

_CLOSING = "\"'”’»)]}*_」』）】》〉"
_OPENING = "\"'“‘«([{*_「『（【《〈"

_ENDS = (".", "!", "?", "…")  # before a blank
_WIDE_ENDS = "。！？；｡"  # anywhere
_CLAUSES = (",", ";", ":", "–", "—")  # before a blank
_WIDE_CLAUSES = "，、："  # anywhere

# Their full stop ends no sentence; where it does all the same, two sentences are one piece, which nobody hears.
_ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof sr jr st mt vs etc cf viz approx dept est inc ltd co corp bros gen col sgt capt lt cmdr rev hon
    gov sen rep pres ave blvd rd tel ext ed eds al ca bzw usw evtl ggf vgl hr fr str sra srta dra ud uds mme mlle
    """.split()
)
# Theirs ends none before a number.
_BEFORE_NUMBERS = frozenset(
    "no nos nr fig figs vol vols p pp art ch sec eq tab jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
_DOTTED = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # J. · e.g. · U.S. · z.B.


class Chunker:
    """Cuts a stream of text into speakable pieces, which joined are exactly the stream.

    A piece ends at a line's end; after ``. ! ? …`` before a blank, but not in numbers, initials, list numbers and
    abbreviations; at once after ``。！？；``; at the first comma of a piece that has become long; and, where there is
    nothing of all that, between two words. A wide character (CJK) counts as two.

    Args:
        clause_chars: from this length on a comma will do.
        max_chars: no piece is longer.

    Raises:
        ConfigError: ``max_chars`` is smaller than ``clause_chars`` or than 2.
    """

    def __init__(self, *, clause_chars: int = 60, max_chars: int = 160) -> None:
        if not 2 <= max_chars >= clause_chars:
            raise ConfigError("max_chars is at least 2, and not less than clause_chars")
        self._clause_chars = clause_chars
        self._max_chars = max_chars
        self._text = ""

    @property
    def waiting(self) -> str:
        """What is not yet a piece."""
        return self._text

    def add(self, text: str) -> list[str]:
        """Take more of the stream; returns the pieces that are complete with it."""
        self._text += text
        pieces, start = [], 0
        while (end := self._end(start)) is not None:
            pieces.append(self._text[start:end])
            start = end
        self._text = self._text[start:]
        return pieces

    def flush(self) -> str:
        """What waits, as the last piece; the stream may go on after it."""
        text, self._text = self._text, ""
        return text

    def _end(self, start: int) -> int | None:
        """Where the piece that begins at ``start`` ends, or ``None`` where that is not known yet."""
        text = self._text
        width, word = 0, False  # of the piece so far, and whether there is anything to speak in it
        clause = border = 0  # the last places where it could be cut, if need be
        for at in range(start, len(text)):
            mark = text[at]
            if at > start and mark.isalnum() and (_blankless(mark) or _blankless(text[at - 1])):
                border = at
            width += 2 if _is_wide(mark) else 1
            if width > self._max_chars:
                return clause or border or _between_characters(text, start, at)
            word = word or mark.isalnum()
            if not word:
                continue
            if mark == "\n":
                return at + 1
            if mark in _WIDE_ENDS:
                return _after_closing(text, at + 1)
            is_clause = mark in _WIDE_CLAUSES
            if mark.isspace():
                border = at + 1
                ends = _ends_sentence(text, start, at)
                if ends is None:
                    return None
                if ends:
                    return border
                is_clause = _before_closing(text, start, at).endswith(_CLAUSES)
            if is_clause:
                clause = at + 1
                if width >= self._clause_chars:
                    return clause
        return None


def _is_wide(character: str) -> bool:
    return character >= "\u2e80"


def _blankless(character: str) -> bool:
    """Whether a character belongs to a script written without blanks, where a word may end after any."""
    return "\u2e80" <= character <= "\ua4cf" or "\uf900" <= character <= "\ufaff" or character >= "\U00020000"


def _before_closing(text: str, start: int, end: int) -> str:
    """The last word and its marks before ``end``, without quotes and brackets that close after it."""
    while end > start and text[end - 1] in _CLOSING:
        end -= 1
    begin = end
    while begin > start and not text[begin - 1].isspace():
        begin -= 1
    return text[begin:end]


def _after_closing(text: str, end: int) -> int:
    """Take along further marks, quotes and brackets, where they are already there."""
    while end < len(text) and (text[end] in _CLOSING or text[end] in _WIDE_ENDS):
        end += 1
    return end


def _between_characters(text: str, start: int, at: int) -> int:
    """The last place at or before ``at`` that does not tear a letter from its accents."""
    end = at
    while end > start + 1 and (unicodedata.category(text[end])[0] == "M" or "\u200d" in text[end - 1 : end + 1]):
        end -= 1
    return end if end > start + 1 else at


def _ends_sentence(text: str, start: int, blank: int) -> bool | None:
    """Whether a sentence ends before this blank; ``None`` where that takes more text to know."""
    said = _before_closing(text, start, blank)
    if not said.endswith(_ENDS):
        return False
    if not said.endswith(".") or said.endswith(".."):
        return True
    word = said[:-1].lstrip(_OPENING).lower()
    if _DOTTED.fullmatch(word) or word in _ABBREVIATIONS:
        return False
    if word in _BEFORE_NUMBERS:
        following = text[blank:].lstrip()
        return not following[0].isdigit() if following else None
    return not (word.isdigit() and text[start:blank].strip() == said)  # "1. First" is an item of a list


class Feed:
    """Sends a stream of text piece by piece; what waits is sent too when the stream is silent for a while.

    The caller's thread pulls the stream and sends. The thread ``qwen-feed`` waits for silence and sends then; it may
    block on that wait and on one send, is woken by each chunk and by the end, and ends before :meth:`run` returns.

    Args:
        send: sends one piece; on both threads, one at a time.
        idle_flush_s: seconds of silence.
        chunker: cuts the stream.

    Raises:
        ConfigError: ``idle_flush_s`` is not positive.
    """

    def __init__(self, send: Callable[[str], None], idle_flush_s: float, chunker: Chunker | None = None) -> None:
        if not idle_flush_s > 0:
            raise ConfigError(f"idle_flush_s is a positive number of seconds, not {idle_flush_s!r}")
        self._send = send
        self._idle_s = min(idle_flush_s, threading.TIMEOUT_MAX / 2)
        self._chunker = chunker or Chunker()
        # Guards the chunker and the order of pieces, so it is held while one is sent; notified by chunks and the end.
        self._changed = Condition()
        self._last_at = 0.0  # when the last chunk came, on time.monotonic()
        self._over = False
        self._failure: BaseException | None = None  # of a send on qwen-feed
        self._sent = 0

    def run(self, chunks: Iterable[str]) -> int:
        """Send all of it; blocks for as long as the stream lasts. Returns the number of characters.

        Raises:
            ConfigError: a chunk is not a string.
        """
        thread = threading.Thread(target=self._watch, name="qwen-feed", daemon=True)
        thread.start()
        try:
            for chunk in chunks:
                if not isinstance(chunk, str):
                    raise ConfigError(f"a chunk of text must be a str, not {type(chunk).__name__}")
                with self._changed:
                    self._raise_failure()
                    for piece in self._chunker.add(chunk):
                        self._put(piece)
                    self._last_at = time.monotonic()
                    self._changed.notify()
            with self._changed:
                self._raise_failure()
                self._put(self._chunker.flush())
        finally:
            with self._changed:
                self._over = True
                self._changed.notify()
            thread.join()  # it holds no lock for longer than one send, which has a deadline
        return self._sent

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _put(self, piece: str) -> None:
        if piece:
            self._send(piece)
            self._sent += len(piece)

    def _watch(self) -> None:
        with self._changed:
            while not self._over:
                left = None
                if self._chunker.waiting.strip():
                    left = self._last_at + self._idle_s - time.monotonic()
                    if left <= 0:
                        try:
                            self._put(self._chunker.flush())
                        except BaseException as error:  # noqa: BLE001 - it is raised where the stream is pulled
                            self._failure = error
                            return
                        continue
                self._changed.wait(left)
