"""Sums in words: reading "seven plus five" and saying "twelve"."""

from __future__ import annotations

import re
from fractions import Fraction

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_VALUES = {
    **{word: value for value, word in enumerate(_ONES)},
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
    "a": 1,
}
_OPERATIONS = {
    "plus": "+",
    "and": "+",
    "+": "+",
    "minus": "-",
    "less": "-",
    "-": "-",
    "−": "-",
    "times": "*",
    "multiplied": "*",
    "x": "*",
    "*": "*",
    "×": "*",
    "over": "/",
    "divided": "/",
    "/": "/",
    "÷": "/",
}
_WORDS = re.compile(r"\d+(?:\.\d+)?|[a-z]+|[+*/×÷−-]")
# Beyond this a sum is not for speaking.
_LARGEST = 10**9


def say(value: Fraction) -> str:
    """Return a number in words; hundredths at most, with "about" where it is rounded."""
    if value < 0:
        return f"minus {say(-value)}"
    hundredths = round(value * 100)
    about = "" if Fraction(hundredths, 100) == value else "about "
    whole, rest = divmod(hundredths, 100)
    if not rest:
        return about + _say_whole(whole)
    digits = f"{rest:02d}".rstrip("0")
    return f"{about}{_say_whole(whole)} point {' '.join(_ONES[int(digit)] for digit in digits)}"


def _say_whole(value: int) -> str:
    for unit, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if value >= unit:
            rest = f" {_say_whole(value % unit)}" if value % unit else ""
            return f"{_say_whole(value // unit)} {name}{rest}"
    if value < 20:
        return _ONES[value]
    return _TENS[value // 10 - 2] + (f" {_ONES[value % 10]}" if value % 10 else "")


def evaluate(text: str) -> Fraction | str | None:
    """Return the value of the sum in a text, ``None`` where there is none, or the reason why it has no value.

    Numbers are digits or words below a billion; products come before sums.
    """
    numbers: list[Fraction] = []
    operations: list[str] = []
    words = _WORDS.findall(text.lower())
    at = 0
    while at < len(words):
        number, after = _number(words, at)
        if number is None:
            if numbers and len(operations) < len(numbers) and words[at] in _OPERATIONS:
                operations.append(_OPERATIONS[words[at]])
            elif numbers and words[at] not in ("by", "is", "equals", "equal", "to"):
                if len(numbers) > 1:
                    break
                numbers, operations = [], []
            at += 1
            continue
        if len(numbers) > len(operations):
            # A number that nothing joins to the one before: the sum is over, or has not begun.
            if operations:
                break
            numbers = []
        numbers.append(number)
        at = after
    operations = operations[: max(0, len(numbers) - 1)]
    if not operations:
        return None
    return _compute(numbers, operations)


def _compute(numbers: list[Fraction], operations: list[str]) -> Fraction | str:
    terms = [numbers[0]]
    for operation, number in zip(operations, numbers[1:], strict=True):
        if operation == "*":
            terms[-1] *= number
        elif operation == "/":
            if number == 0:
                return "nothing can be divided by zero"
            terms[-1] /= number
        else:
            terms.append(number if operation == "+" else -number)
    total = sum(terms, Fraction(0))
    return total if abs(total) < _LARGEST else "that number is too large for me"


def _number(words: list[str], at: int) -> tuple[Fraction | None, int]:
    """Return the number that begins at a word and where it ends."""
    if words[at][0].isdigit():
        return Fraction(words[at]), at + 1
    total = group = 0
    last = 0  # the value of the last small word: "twenty one" is one number, "one two" is not
    start = at
    while at < len(words):
        word = words[at]
        if word == "a" and (at + 1 == len(words) or words[at + 1] not in ("hundred", "thousand", "million")):
            break
        if word in _VALUES:
            value = _VALUES[word]
            if last and not (last >= 20 and last % 10 == 0 and 0 < value < 10):
                break
            group += value
            last = value
        elif word == "hundred" and 0 < group < 10:
            group, last = group * 100, 0
        elif word in ("thousand", "million") and group:
            total += group * (1000 if word == "thousand" else 10**6)
            group = last = 0
        elif word == "and" and at > start and words[at - 1] in ("hundred", "thousand") and _follows(words, at):
            pass
        else:
            break
        at += 1
    return (Fraction(total + group), at) if at > start else (None, at)


def _follows(words: list[str], at: int) -> bool:
    return at + 1 < len(words) and words[at + 1] in _VALUES and words[at + 1] != "a"


def first_number(text: str) -> Fraction | None:
    """Return the first number in a text, digits or words, or ``None``."""
    words = _WORDS.findall(text.lower())
    return next((number for at in range(len(words)) if (number := _number(words, at)[0]) is not None), None)
