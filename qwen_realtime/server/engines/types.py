"""What goes into the engines and what comes out of them: plain values, no threads, no processes.

Positions in sound are milliseconds from the first byte that a listener was ever fed, over all its utterances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

Domain: TypeAlias = Literal["general", "assistant"]
"""Which language model listens: the stock English one, or a small one of what the dialogue can answer."""


@dataclass(frozen=True)
class TurnDetection:
    """How the end of an utterance is found.

    Args:
        threshold: -1 to 1 as in the service; larger wants clearer speech. See ``speech_probability``.
        silence_duration_ms: silence that ends an utterance.
        prefix_padding_ms: sound before the onset that still belongs to the utterance.
    """

    threshold: float = 0.2
    silence_duration_ms: int = 800
    prefix_padding_ms: int = 300

    @property
    def speech_probability(self) -> float:
        """Return the speech probability (0.02 to 0.98) above which a frame counts as speech.

        Linear on either side of the service's default: -1 gives 0.02, 0.2 gives 0.5, 1 gives 0.98.
        """
        threshold = min(1.0, max(-1.0, self.threshold))
        return 0.5 + (threshold - 0.2) * (0.48 / 1.2 if threshold < 0.2 else 0.48 / 0.8)


class SpeechStarted(msgspec.Struct, frozen=True, tag=True):
    """Speech began at ``audio_start_ms``: the onset itself, not the later moment at which it was sure."""

    audio_start_ms: int


class Partial(msgspec.Struct, frozen=True, tag=True):
    """A draft of the utterance in progress.

    Args:
        text: the confirmed part; it only grows, and the final text begins with it.
        stash: the draft tail, which the next partial may rewrite. ``text + stash`` is what to show.
    """

    text: str
    stash: str


class SpeechStopped(msgspec.Struct, frozen=True, tag=True):
    """Speech ended at ``audio_end_ms``: where the silence began, not where it had lasted long enough."""

    audio_end_ms: int


class Final(msgspec.Struct, frozen=True, tag=True):
    """The transcript of one utterance; ``text`` is empty where nothing was understood."""

    text: str
    audio_start_ms: int
    audio_end_ms: int
    language: str


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The utterance could not be transcribed: ``unsupported_language``, ``engine_failed`` or the like."""

    code: str
    message: str


class Flushed(msgspec.Struct, frozen=True, tag=True):
    """Everything fed before ``finish()`` has been dealt with; the last result of a listener."""


ListenResult: TypeAlias = SpeechStarted | Partial | SpeechStopped | Final | Failed | Flushed
"""What a listener reports, in the order of the sound."""


@dataclass(frozen=True)
class Translation:
    """A translated text.

    Args:
        text: the translation; where there is none, the source text behind a mark such as ``[no translation en>fi]``.
        engine: what made it, in plain words.
        rough: true where it is a look-up in a phrase table, or no translation at all.
    """

    text: str
    engine: str
    rough: bool


@dataclass(frozen=True)
class ToolCall:
    """A function that the dialogue wants called; ``arguments_json`` is a JSON object as text."""

    name: str
    arguments_json: str


@dataclass(frozen=True)
class Reply:
    """What the dialogue answers: a text to speak, or calls to make first (then ``text`` is empty)."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
