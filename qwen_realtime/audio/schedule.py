"""What to play next: the player's decisions, without thread, device or clock.

The player asks ``due`` for the next block, gives it to the device, and reports it with ``delivered``. Times are
seconds of one steady clock and always come from the caller; counts are samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from qwen_realtime.audio.ring import RingBuffer
from qwen_realtime.audio.tracks import Parts, Tag, Tracks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from qwen_realtime.audio.bytes import Audio

_FADE_S = 0.005  # long enough not to click, too short to be heard as a fade
_TAIL_S = 0.5  # silence after the last sample: no device stops with it, and short pauses do not stop it
_REFILL_S = 0.4  # what must wait before playing goes on after the first underrun
_REFILL_LIMIT_S = 1.6
_STALL_S = 2.0  # a longer gap is no jitter: no buffer would have helped, and untagged sound begins anew


@dataclass(frozen=True)
class Playout:
    """What was heard when ``interrupt`` cut the sound. Everything in ms.

    Attributes:
        tag: what was being heard at the cut, or was to be next; ``None`` also for sound without a tag.
        heard_ms: how much of ``tag`` was heard, the fade included.
        heard: the same for every tag that was cut, those included of which nothing was heard.
        discarded_ms: what waited and will not be heard.
        played_ms: all that this player has played.
    """

    tag: Tag = None
    heard_ms: float = 0.0
    heard: Mapping[Tag, float] = field(default_factory=dict)
    discarded_ms: float = 0.0
    played_ms: float = 0.0


@dataclass(frozen=True)
class Block:
    """What the device gets next: sound and whose it is; without parts it is ``SILENCE`` or ``REST``."""

    samples: NDArray[np.int16]
    parts: Parts


SILENCE = Block(np.zeros(0, np.int16), [])
"""A block of silence."""
REST = Block(np.zeros(0, np.int16), [])
"""Nothing: the device may stop."""


def faded(samples: NDArray[np.int16], start: float, end: float) -> NDArray[np.int16]:
    """Return ``samples`` with a gain that goes evenly from ``start`` to ``end``, clipped."""
    gain = np.linspace(start, end, len(samples))
    return np.clip(np.rint(samples * gain), -32768, 32767).astype(np.int16)


class Schedule:
    """Holds the sound that waits and decides when it flows. Not thread-safe: guarded by the player's lock.

    Args:
        sample_rate: in Hz.
        block_s: length of a block.
        prebuffer_s: what must wait before playing starts.
        limit_s: what may wait at most.
    """

    def __init__(self, sample_rate: int, block_s: float, prebuffer_s: float, limit_s: float) -> None:
        self.sample_rate = sample_rate
        self.underruns = 0
        self.played = 0  # samples of sound the device took
        self.playing = False  # sound flows; otherwise dry, paused, or waiting for the prebuffer
        self.paused = False
        self.in_flight: Block | None = None  # with the device, not yet taken
        self.tracks = Tracks()
        self._ring = RingBuffer(sample_rate, initial_s=min(2.0, limit_s), limit_s=limit_s)
        self._block = max(1, round(sample_rate * block_s))
        self._fade = round(sample_rate * _FADE_S)
        self._tail_blocks = round(_TAIL_S / block_s) + 1
        self._prebuffer_s = prebuffer_s

        self._target_s = prebuffer_s  # what must wait now before playing starts
        self._hurry = False  # play what there is: nothing more is coming, or it plays on after a pause
        self._last_tag: Tag = None
        self._last_write = 0.0
        self._ran_dry: tuple[Tag, float] | None = None  # in which tag, and when
        self._smooth = True  # no underrun in this tag so far

        self._cut: Block | None = None  # the fade that ends what was interrupted
        self._rising = False  # the next block fades in: it follows a pause
        self._tail = 0  # blocks of silence still to come, and one for the rest
        self._flushed = True  # silence followed the last sound
        self._dry_at = 0.0  # when the device itself runs dry if nothing comes
        self._quiet_at = 0.0  # when the last sample of sound will have been heard

    @property
    def waiting(self) -> int:
        """Samples that wait, those included that are with the device but not yet taken."""
        return len(self._ring) + (len(self.in_flight.samples) if self.in_flight else 0)

    @property
    def quiet_at(self) -> float | None:
        """When the last sample will have been heard; ``None`` while there is sound to give to the device."""
        flying = self.in_flight is not None and self.in_flight.parts
        return None if len(self._ring) or self._cut or flying or not self._flushed else self._quiet_at

    def write(self, pcm: Audio, tag: Tag, now: float) -> bool:
        """Add PCM; return whether it will be played, which it will not if its tag was interrupted.

        Raises:
            AudioError: the limit would be passed; nothing was taken.
        """
        if self.tracks[tag].dropped:
            return False
        if tag != self._last_tag:
            self._ring.align()
        count = self._ring.write(pcm)
        if count:
            self.tracks.append(tag, count)
            self._judge_gap(tag, now)
            self.tracks[tag].ended = False
            self._last_tag = tag
            self._last_write = now
            self._hurry = False
        return True

    def end(self, tag: Tag) -> None:
        """Nothing more of ``tag`` is coming: what waits need not wait for more."""
        self.tracks[tag].ended = True
        self._hurry = self._hurry or tag == self._last_tag

    def end_last(self) -> None:
        """Nothing more of the tag written last is coming."""
        self.end(self._last_tag)

    def pause(self) -> None:
        """Let nothing flow from now on."""
        self.paused = True

    def resume(self) -> None:
        """Let it flow again, at once."""
        self._hurry = self._hurry or self.paused
        self.paused = False

    def due(self, now: float) -> Block | None:
        """Return the next block for the device, or ``None`` if it is to be left alone until ``wake_at``."""
        self.in_flight = self._next(now)
        return self.in_flight

    def wake_at(self) -> float | None:
        """When ``due`` is to be asked again at the latest, if nothing else happens; ``None``: not at all."""
        if self.paused:
            return None
        if self.playing:
            return self._dry_at
        return self._last_write + self._target_s if len(self._ring) else None

    def delivered(self, block: Block, now: float, latency_s: float, ran_dry: bool) -> None:
        """The device took ``block``.

        Args:
            block: the one that was due.
            now: the time after it was taken.
            latency_s: from now until its last sample is heard.
            ran_dry: whether the device had run dry before it.
        """
        self.in_flight = None
        if not block.parts:
            self._flushed = True
            return
        self.underruns += ran_dry and not self._flushed
        self._flushed = False
        self._quiet_at = now + latency_s
        # The device goes on for its latency; the next block, if it comes, needs some of that to get there.
        self._dry_at = now + max(0.0, latency_s - 2 * self._block / self.sample_rate)
        self.played += len(block.samples)
        self.tracks.heard(block.parts, self._quiet_at, self.sample_rate)

    def cut(self) -> Playout:
        """Discard what waits, end with a fade, drop what still comes of the tags concerned; return what was heard."""
        if self.playing and self._cut is None and (fade := self._take(self._fade)) is not None:
            self._cut = Block(faded(fade.samples, 1.0, 0.0), fade.parts)
        underway = [part for block in (self.in_flight, self._cut) if block for part in block.parts]
        counts: dict[Tag, int] = {}
        for tag in (*(tag for tag, _ in underway), *self.tracks.waiting, self._last_tag):
            counts[tag] = self.tracks[tag].played + sum(size for whose, size in underway if whose == tag)
            self.tracks[tag].dropped = tag is not None
        current = underway[-1][0] if underway else next(iter(counts))
        self.tracks.clear()
        discarded = self._ring.clear()
        self.playing = False
        self._ran_dry = None
        ms = 1000.0 / self.sample_rate
        return Playout(
            tag=current,
            heard_ms=counts[current] * ms,
            heard={tag: count * ms for tag, count in counts.items()},
            discarded_ms=discarded * ms,
            played_ms=(self.played + sum(size for _, size in underway)) * ms,
        )

    def _next(self, now: float) -> Block | None:
        if self._cut is not None:
            last, self._cut = self._cut, None
            self._stop()
            return last
        if self.paused:
            if self.playing:
                self._stop()
                self._rising = True
                if (fade := self._take(self._fade)) is not None:
                    return Block(faded(fade.samples, 1.0, 0.0), fade.parts)
        elif self.playing:
            if (block := self._take(self._block)) is not None:
                return self._risen(block)
            if now < self._dry_at and not self._hurry:
                return None
            self._stop()
            self._ran_dry = (self._last_tag, now)
        elif self._primed(now):
            self.playing = True
            return self._next(now)
        if self._tail:
            self._tail -= 1
            return SILENCE if self._tail else REST
        return None

    def _primed(self, now: float) -> bool:
        waiting = len(self._ring)
        if not waiting:
            return False
        # Sound of a later tag behind it says that the first is complete; a writer who has been quiet for as long as
        # was to be waited for may have no more.
        enough = waiting >= self._target_s * self.sample_rate or now - self._last_write >= self._target_s
        return enough or self._hurry or self.tracks.several

    def _judge_gap(self, tag: Tag, now: float) -> None:
        """Decide whether the gap before this write was an underrun, and how much is to wait from now on."""
        if self._ran_dry is not None:
            (dry_tag, since), self._ran_dry = self._ran_dry, None
            jitter = now - since < _STALL_S
            if dry_tag == tag and not self.tracks[tag].ended and (jitter or tag is not None):
                self.underruns += 1
                self._smooth = False
                if jitter:
                    self._target_s = min(max(_REFILL_S, 2 * self._target_s), _REFILL_LIMIT_S)
        if tag != self._last_tag:
            if self._smooth:
                self._target_s = max(self._prebuffer_s, self._target_s / 2)
            self._smooth = True

    def _take(self, count: int) -> Block | None:
        samples = self._ring.read(count)
        return Block(samples, self.tracks.take(len(samples))) if len(samples) else None

    def _risen(self, block: Block) -> Block:
        if not self._rising:
            return block
        self._rising = False
        head = faded(block.samples[: self._fade], 0.0, 1.0)
        return Block(np.concatenate((head, block.samples[self._fade :])), block.parts)

    def _stop(self) -> None:
        self.playing = False
        self._tail = self._tail_blocks
