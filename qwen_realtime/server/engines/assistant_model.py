"""A small language model of what the local dialogue can answer. It is labelled as that wherever it is used.

It is made of short questions, fragments and sums with arbitrary numbers. No sentence of the demo or of the tests may be
in it (``corpus`` lets them check). What is outside its few hundred words will be heard as something inside.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from typing import Any

from .dialogue import NAMES

_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand"
).split()
_OPERATIONS = ("plus", "minus", "times", "divided by", "multiplied by")
_PLACES = (
    "paris london berlin madrid rome tokyo beijing shanghai singapore sydney moscow vienna boston chicago houston "
    "dublin amsterdam lisbon athens cairo delhi toronto new_york san_francisco hong_kong los_angeles"
).split()
_DAYS = "monday tuesday wednesday thursday friday saturday sunday today tomorrow yesterday".split()

_PHRASES = """
hello
hello there
hi
hey
good morning
good afternoon
good evening
how are you
how are you doing
what is your name
my name is
i am called
what is my name
do you know my name
do you remember my name
who am i
who are you
what are you
are you a human
are you a real person
are you a language model
what can you do
what can you do for me
can you help me
help
help me
what time is it
what time is it now
what is the time
could you tell me the time
can you tell me what time it is
what is the date
what is the date today
tell me the date
what day is it
what day is it today
what day was yesterday
tell me a story
tell me a short story
please tell me a story
tell me another story
repeat after me
repeat that
please repeat
say that again
what did i say
what did i just say
thank you
thank you very much
thanks
thanks a lot
many thanks
goodbye
bye
bye bye
see you
see you later
see you tomorrow
good night
stop
please stop
wait
wait a moment
be quiet
never mind
that is enough
yes
no
yes please
no thank you
okay
all right
please
what is the weather
how is the weather
how is the weather today
what is the weather like
what will the weather be
tell me the weather
will it rain
is it cold
is it warm
and what about
and you
can you count
please count
i do not know
i do not understand
i want to know
i would like to know
could you please
can you please
"""


def corpus() -> list[str]:
    """Return the sentences and fragments that the model is made of; lower case, no punctuation."""
    lines = _PHRASES.strip().splitlines()
    pair = itertools.count(3)
    for operation in _OPERATIONS:
        for number in _NUMBERS[:-2]:
            # Every number on either side of every operation; which ones meet is arbitrary.
            other = _NUMBERS[next(pair) * 11 % (len(_NUMBERS) - 2)]
            lines.append(f"{number} {operation} {other}")
        lines += [f"what is {number} {operation}" for number in _NUMBERS[1:-2:2]]
        lines += [f"how much is {number} {operation}" for number in _NUMBERS[2:-2:3]]
    for tens, ones in itertools.product(_NUMBERS[20:28], _NUMBERS[1:10:4]):
        lines.append(f"{tens} {ones}")
    lines += [f"{number} {unit}" for number in _NUMBERS[1:10:2] for unit in ("hundred", "thousand")]
    lines += [f"count to {number}" for number in _NUMBERS[2:20:3]]
    for place in (name.replace("_", " ") for name in _PLACES):
        lines += [f"the weather in {place}", f"in {place}", f"time is it in {place}"]
    for name in sorted(NAMES):
        lines += [f"name is {name}", f"am {name}"]
    lines += [f"what day is {day}" for day in _DAYS[7:9]] + [f"on {day}" for day in _DAYS]
    return lines


def load(decoder: Any) -> Any:
    """Return the model (an ``NGramModel``) for a decoder; takes some 20 ms. Words the dictionary lacks are left out."""
    from pocketsphinx import NGramModel
    from pocketsphinx.lm import ArpaBoLM

    known = [line for line in corpus() if all(decoder.lookup_word(word) for word in line.split())]
    builder = ArpaBoLM(text="\n".join(known), add_start=True)
    builder.compute()
    with tempfile.TemporaryDirectory(prefix="qwen-model-") as folder:
        path = os.path.join(folder, "assistant.lm")
        builder.write_file(path)
        return NGramModel(decoder.config, decoder.logmath, path)
