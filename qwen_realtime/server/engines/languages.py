"""Which language a text is in, as far as its letters and a few common words tell."""

from __future__ import annotations

import re

_NAMES = {
    "english": "en",
    "chinese": "zh",
    "mandarin": "zh",
    "spanish": "es",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "portuguese": "pt",
    "russian": "ru",
    "japanese": "ja",
    "korean": "ko",
}

_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile("[\u3400-\u9fff]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
)

# Letters that only one of these languages uses weigh more than words that several share.
_MARKS = {"es": "ñ¿¡", "de": "äöüß", "pt": "ãõ", "fr": "çœêùû", "it": "ìò"}
_WORDS = {
    "en": "the and is are you what of to in it that this i my have please where how",
    "es": "el los las es un una que de y en por para está gracias hola buenos días dónde cómo",
    "fr": "le les des est un une que de et en pour je vous nous merci bonjour où comment c'est s'il",
    "de": "der die das ist ein eine und nicht ich sie wir mit danke guten tag wo wie bitte",
    "pt": "o os as é um uma que de e em por para não você obrigado olá bom dia onde como",
    "it": "il gli è un una che di e per non sono grazie ciao buongiorno dove come",
}
_WORD_SETS = {language: frozenset(words.split()) for language, words in _WORDS.items()}


def code(language: str) -> str:
    """Return the short code for a code or an English name: ``en-US`` and ``English`` are ``en``; ``auto`` stays."""
    key = language.strip().lower()
    return _NAMES.get(key) or re.split("[-_]", key)[0] or "auto"


def guess(text: str, otherwise: str = "en") -> str:
    """Return the likely language of a text; ``otherwise`` where nothing tells."""
    for language, script in _SCRIPTS:
        if script.search(text):
            return language
    lowered = text.lower()
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", lowered)
    scores = {language: sum(word in known for word in words) for language, known in _WORD_SETS.items()}
    for language, marks in _MARKS.items():
        scores[language] += 2 * sum(lowered.count(mark) for mark in marks)
    best = max(scores, key=lambda language: (scores[language], language == otherwise))
    return best if scores[best] > 0 else otherwise
