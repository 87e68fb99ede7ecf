"""English speech to text with PocketSphinx, or an honest placeholder. Worker only: decoding holds the interpreter lock.

A *segment* is speech between two pauses of about 0.3 s. The decoder hears one segment at a time, so that at each pause
what it found becomes final and later partials cannot take it back.

The words of an utterance depend on its own sound only, not on who was heard before: neither the channel (cepstral mean)
nor the noise that a decoder has adapted to outlives an utterance.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

import numpy as np

from .types import Domain
from .vad import Samples

# What speech at an ordinary level comes to, averaged over people and Flite; PocketSphinx's own is 40,3,-1,0...
_COLD_CEPSTRAL_MEAN = "44.5,1.5,2.5,5,0.5,0.8,0,-1.5,-1.8,-0.5,1.5,0.5,1.3"
# The second pass takes about a seventh of the sound's time, most of it hidden in the silence that ends an utterance.
_LONGEST_SECOND_PASS_SAMPLES = 8 * 16000
_FIRST_SAMPLES = 16000 // 5


class Segment(Protocol):
    """The decoding of one segment."""

    def feed(self, samples: Samples) -> None:
        """Decode more sound, 16 kHz mono."""

    def draft(self) -> str:
        """Return the words so far; later ones may differ."""

    def end(self) -> str:
        """Return the words of the whole segment. Nothing may be fed after it."""


class Ear(Protocol):
    """What one listener keeps from segment to segment of an utterance."""

    def segment(self) -> Segment:
        """Begin a segment; one at a time."""

    def forget(self) -> None:
        """The utterance is over: the next one begins as the first did."""


class PlaceholderEar:
    """No recogniser: tells how long the speech was and nothing else."""

    def segment(self) -> Segment:
        """Begin a segment."""
        return _PlaceholderSegment()

    def forget(self) -> None:
        """Nothing was learnt."""


class _PlaceholderSegment:
    def __init__(self) -> None:
        self._samples = 0

    def feed(self, samples: Samples) -> None:
        self._samples += len(samples)

    def draft(self) -> str:
        return f"[{self._samples / 16000:.1f} seconds of speech, not recognised]"

    def end(self) -> str:
        return self.draft()


class Recogniser:
    """The decoders of one worker: about 90 MB for each segment decoded at the same time, kept for the next one."""

    def __init__(self) -> None:
        self._free: list[Any] = []
        self._assistant_model: Any = None

    def ear(self, domain: Domain) -> PocketSphinxEar:
        """Return what a new listener needs."""
        return PocketSphinxEar(self, domain)

    def warm_up(self) -> None:
        """Load the first decoder, which takes about 0.4 s."""
        self.put_back(self.take("general"))

    def take(self, domain: Domain) -> Any:
        """Return a decoder with the language model of ``domain`` active."""
        decoder = self._free.pop() if self._free else self._load()
        if domain == "assistant" and decoder.get_lm("assistant") is None:
            decoder.add_lm("assistant", self._load_assistant_model(decoder))
        decoder.activate_search("assistant" if domain == "assistant" else "_default")
        return decoder

    def put_back(self, decoder: Any) -> None:
        """Give a decoder back that is between utterances."""
        self._free.append(decoder)

    def _load(self) -> Any:
        from pocketsphinx import Decoder

        # fwdflat, a second search, makes the end of an utterance take 135 ms rather than 18, for no fewer errors.
        decoder = Decoder(fwdflat=False, loglevel="FATAL")
        # The very first utterance of a decoder is scored a little differently from all that follow: it is noise.
        decoder.start_utt()
        decoder.process_raw(np.random.default_rng(0).normal(0, 300, _FIRST_SAMPLES).astype(np.int16).tobytes())
        decoder.end_utt()
        return decoder

    def _load_assistant_model(self, decoder: Any) -> Any:
        from .assistant_model import load

        if self._assistant_model is None:
            self._assistant_model = load(decoder)
        return self._assistant_model


class PocketSphinxEar:
    """One listener's recognition; remembers the channel (cepstral mean) from segment to segment of an utterance."""

    def __init__(self, recogniser: Recogniser, domain: Domain) -> None:
        self.recogniser = recogniser
        self.domain = domain
        self.cepstral_mean: str | None = None

    def segment(self) -> Segment:
        """Begin a segment."""
        return _PocketSphinxSegment(self)

    def forget(self) -> None:
        """The utterance is over: the next one begins as the first did."""
        self.cepstral_mean = None


class _PocketSphinxSegment:
    def __init__(self, ear: PocketSphinxEar) -> None:
        self._ear = ear
        self._decoder = ear.recogniser.take(ear.domain)
        self._heard: list[Samples] | None = None
        # Decoders are shared: the channel and the noise of the last listener must not colour this one.
        self._decoder.reinit_feat()
        if ear.cepstral_mean is None:
            self._heard = []
            self._decoder.set_cmn(_COLD_CEPSTRAL_MEAN)
        else:
            self._decoder.set_cmn(ear.cepstral_mean)
        self._decoder.start_utt()

    def feed(self, samples: Samples) -> None:
        if self._heard is not None:
            self._heard.append(samples)
        self._decoder.process_raw(samples.tobytes(), False, False)

    def draft(self) -> str:
        return _words(self._decoder.hyp())

    def end(self) -> str:
        decoder = self._decoder
        decoder.end_utt()
        self._ear.cepstral_mean = decoder.get_cmn(True)
        if self._heard and sum(map(len, self._heard)) <= _LONGEST_SECOND_PASS_SAMPLES:
            # The first segment was decoded before its channel was known, which costs a third more errors: once more.
            decoder.set_cmn(self._ear.cepstral_mean)
            decoder.start_utt()
            decoder.process_raw(np.concatenate(self._heard).tobytes(), False, False)
            decoder.end_utt()
        text = _words(decoder.hyp())
        self._ear.recogniser.put_back(decoder)
        return text


_FILLER = re.compile(r"<[^>]*>|\[[^\]]*\]|\+\+[^+]*\+\+|\(\d+\)")


def _words(hypothesis: Any) -> str:
    return " ".join(_FILLER.sub(" ", hypothesis.hypstr).split()) if hypothesis else ""
