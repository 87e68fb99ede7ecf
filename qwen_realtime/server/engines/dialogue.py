"""What the local server answers: deterministic rules, no language model, and they say so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from . import arithmetic
from . import tools as tool_matching
from .types import Reply

ABILITIES = (
    "I can do sums, tell the time and the date, remember your name, count, tell a short story, "
    "and call a function that you declare"
)
WHO = "I am a local stand-in, a handful of rules inside the offline server, not a language model."
_STORY = (
    "A fisherman lived alone by a grey lake. Every evening he lit a lamp in his window. One night a storm came, "
    "and a boat full of strangers was lost on the water. They saw the small light and rowed towards it. "
    "In the morning the fisherman found twelve guests in his kitchen. He had only one loaf of bread. "
    "But it was a large loaf, and nobody was in a hurry."
)
# Spoken names are taken from this list only: what was misheard must not be spoken back.
NAMES = frozenset(
    (
        "adam alan alice amy andrew anna anne ben bob brian carol charles chris daniel david diana edward ella emily "
        "emma eric eva frank fred george grace hannah harry helen henry ian ivan jack james jane jason jenny jim joe "
        "john julia karen kate kevin laura lee lily linda lisa lucy mark martha martin mary max michael nancy nick "
        "nina oliver oscar paul peter rachel richard robert rose ruth sam sandra sarah simon sophie steve susan "
        "thomas tim tom tony victor william"
    ).split()
)


class Dialogue:
    """One conversation. Not thread-safe; no method blocks.

    Args:
        clock: tells the local time; ``None`` is the computer's.
    """

    def __init__(self, clock: Callable[[], datetime] | None = None) -> None:
        self._clock = clock or datetime.now
        self._name = ""
        self._last_typed = ""
        self._incomplete = ""
        self._results: list[tuple[str, str]] = []

    def tool_result(self, call_id: str, name: str, output: str) -> None:
        """Take what a function returned; the next ``reply`` tells it.

        Args:
            call_id: of the call; for the caller's book-keeping only.
            name: of the function.
            output: usually a JSON object as text.
        """
        del call_id
        self._results.append((name, output))

    def reply(
        self, text: str, *, tools: Sequence[Mapping[str, Any]] = (), instructions: str = "", typed: bool = False
    ) -> Reply:
        """Answer a message.

        Args:
            text: what the user said or typed; empty to go on from the results of functions.
            tools: declared functions, as on the wire (with or without the inner ``function`` object).
            instructions: the system prompt; accepted and ignored, since rules cannot follow it.
            typed: whether the text was typed. What was recognised from speech is never repeated: it may be misheard.
        """
        del instructions
        results = [_tell(name, output) for name, output in self._results]
        self._results = []
        if not text.strip():
            return Reply(" ".join(results) or f"I did not hear anything. {ABILITIES}.")
        message = _plain(text)
        calls, missing = tool_matching.calls_for(f"{self._incomplete} {message}".strip(), tools)
        self._incomplete = ""
        if missing:
            self._incomplete = message
            return Reply(" ".join([*results, f"Tell me the {missing}, please."]))
        if calls:
            return Reply("", tuple(calls))
        answer = self._answer(message, text, typed)
        if typed:
            self._last_typed = text.strip()
        return Reply(" ".join([*results, answer]))

    def _answer(self, message: str, text: str, typed: bool) -> str:
        for pattern, rule in _RULES:
            match = pattern.search(message)
            if match:
                answer = rule(self, match, text if typed else "")
                if answer:
                    return answer
        return f"I am not sure I understood. {ABILITIES}."

    def _repeat(self, match: re.Match[str], typed: str) -> str:
        del match
        if not typed:
            return "I repeat only what is typed, because I may have misheard."
        return (
            re.sub(r"(?i)^\W*(please\s+)?(repeat after me|repeat|say)\W*", "", typed).strip() or "What shall I repeat?"
        )

    def _recall(self, match: re.Match[str], typed: str) -> str:
        del match
        if typed and self._last_typed:
            return f"You wrote: {self._last_typed}"
        return "I keep only what is typed, because I may have misheard."

    def _learn_name(self, match: re.Match[str], typed: str) -> str:
        name = match["name"]
        if name not in NAMES and not typed:
            return "I did not catch your name. You can type it."
        self._name = name.capitalize()
        return f"Nice to meet you, {self._name}."

    def _tell_name(self, match: re.Match[str], typed: str) -> str:
        del match, typed
        return f"Your name is {self._name}." if self._name else "You have not told me your name yet."

    def _time(self, match: re.Match[str], typed: str) -> str:
        del match, typed
        return f"It is {say_time(self._clock())}."

    def _date(self, match: re.Match[str], typed: str) -> str:
        del typed
        day = match["day"] if "day" in match.re.groupindex else None
        offset = {"tomorrow": 1, "yesterday": -1}.get(day or "", 0)
        when = self._clock() + timedelta(days=offset)
        verb = "was" if offset < 0 else "is"
        return f"{(day or 'today').capitalize()} {verb} {when:%A}, {when:%B} {when.day}, {when.year}."

    def _sum(self, match: re.Match[str], typed: str) -> str:
        del typed
        value = arithmetic.evaluate(match.string)
        if isinstance(value, Fraction):
            return f"That is {arithmetic.say(value)}."
        return f"{value[0].upper()}{value[1:]}." if value else ""

    def _count(self, match: re.Match[str], typed: str) -> str:
        del typed
        value = arithmetic.evaluate(f"{match['end']} plus zero")
        if not isinstance(value, Fraction) or not 1 <= value <= 100:
            return "I can count to one hundred."
        return ", ".join(arithmetic.say(Fraction(number)) for number in range(1, int(value) + 1)) + "."

    def _greet(self, match: re.Match[str], typed: str) -> str:
        del match, typed
        return f"Hello{f', {self._name}' if self._name else ''}. What can I do for you?"


def _fixed(answer: str) -> Callable[[Dialogue, re.Match[str], str], str]:
    def rule(dialogue: Dialogue, match: re.Match[str], typed: str) -> str:
        del dialogue, match, typed
        return answer

    return rule


_RULES: list[tuple[re.Pattern[str], Callable[[Dialogue, re.Match[str], str], str]]] = [
    (re.compile(pattern), rule)
    for pattern, rule in (
        (r"^(please )?(repeat|say)\b(?! that| it)", Dialogue._repeat),
        (r"what did i (just )?(say|write|type)", Dialogue._recall),
        (r"\b(my name is|call me|i am called) (?P<name>[^\W\d_]+)", Dialogue._learn_name),
        (r"(what is|know|remember) my name|who am i\b", Dialogue._tell_name),
        (r"who are you|what are you\b|your name|are you (a|an|the|real|human)\b|language model", _fixed(WHO)),
        (r"what can you do|^(please )?help( me)?$|how can you help", _fixed(f"{ABILITIES}. {WHO}")),
        (r"what time|the time\b|what is the hour", Dialogue._time),
        (r"what day (is|was) (?P<day>today|tomorrow|yesterday)", Dialogue._date),
        (r"what day|(what is|tell me) (the|today s) date|date (is it|today)", Dialogue._date),
        (r"count (up )?(from one )?to (?P<end>[a-z\d ]+)", Dialogue._count),
        (r"\b(story)\b", _fixed(_STORY)),
        (
            r"\d|" + "|".join(rf"\b{word}\b" for word in ("plus", "minus", "times", "divided", "multiplied", "and")),
            Dialogue._sum,
        ),
        (r"\bweather\b", _fixed("I cannot look up the weather: no function for it was declared.")),
        (r"how are you", _fixed("I am running well, thank you.")),
        (r"\bthank(s| you)\b", _fixed("You are welcome.")),
        (r"\b(goodbye|good bye|bye|see you|good night)\b", _fixed("Goodbye.")),
        (r"\b(hello|hi|hey|good (morning|afternoon|evening))\b", Dialogue._greet),
        (r"^(stop|be quiet|never mind|cancel|wait|enough|okay|ok|yes|no)\b", _fixed("All right.")),
    )
]


def _plain(text: str) -> str:
    """Return lower-case words with contractions written out."""
    text = text.lower().replace("’", "'")
    text = re.sub(r"\b(what|who|where|how|it|that|there)'s\b", r"\1 is", text)
    text = re.sub(r"\bi'm\b", "i am", text)
    return " ".join(re.sub(r"[^\w\s.,?!+*/×÷−-]", " ", text).split())


def say_time(when: datetime) -> str:
    """Return a time of day in words: "ten forty five in the morning"."""
    part = "morning" if when.hour < 12 else "afternoon" if when.hour < 18 else "evening"
    hour = arithmetic.say(Fraction(when.hour % 12 or 12))
    if when.minute == 0:
        return f"{hour} o'clock in the {part}"
    minute = arithmetic.say(Fraction(when.minute))
    return f"{hour} {'oh ' if when.minute < 10 else ''}{minute} in the {part}"


def _tell(name: str, output: str) -> str:
    """Return a function's output as a sentence."""
    try:
        value = json.loads(output)
    except ValueError:
        value = output
    return f"The {tool_matching.topic_of(name)} function says: {_phrase(value) or 'nothing'}."


def _phrase(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{' '.join(tool_matching.words_of(str(key)))} {_phrase(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_phrase(item) for item in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "unknown"}[value]
    return str(value).strip().rstrip(".")
