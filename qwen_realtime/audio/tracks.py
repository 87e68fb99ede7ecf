"""Which samples belong to whom: the player's bookkeeping by tag (a response's id), in counts of samples only."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeAlias

Tag: TypeAlias = Hashable
Parts: TypeAlias = "list[tuple[Tag, int]]"
"""Consecutive samples as (tag, how many)."""

_REMEMBERED = 256  # tags whose record is kept, by last use; a reply is long over when so many came after it


@dataclass
class Track:
    """What is known of one tag. Times are ``time.monotonic`` seconds, counts are samples."""

    played: int = 0
    first_heard: float | None = None
    ended: bool = False  # the producer said that no more is coming
    dropped: bool = False  # interrupted: what still comes is not wanted


class Tracks:
    """The samples waiting, by tag and in order, and the record of each tag. Guarded by the player's lock."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Tag, int]] = deque()
        self._records: OrderedDict[Tag, Track] = OrderedDict()

    def __getitem__(self, tag: Tag) -> Track:
        """Return the record of ``tag``, a new one if there is none (any more)."""
        record = self._records.setdefault(tag, Track())
        self._records.move_to_end(tag)
        while len(self._records) > _REMEMBERED:
            self._records.popitem(last=False)
        return record

    def known(self, tag: Tag) -> Track | None:
        """Return the record of ``tag`` if there is one."""
        return self._records.get(tag)

    @property
    def waiting(self) -> list[Tag]:
        """The tags that have samples waiting, in order."""
        return list(dict.fromkeys(tag for tag, _ in self._waiting))

    @property
    def several(self) -> bool:
        """Whether more than one tag waits: then the first is complete."""
        return len(self._waiting) > 1

    def append(self, tag: Tag, count: int) -> None:
        """Note that ``count`` samples of ``tag`` wait behind the others."""
        if self._waiting and self._waiting[-1][0] == tag:
            count += self._waiting.pop()[1]
        self._waiting.append((tag, count))

    def take(self, count: int) -> Parts:
        """Remove the first ``count`` samples and return whose they are."""
        parts: Parts = []
        while count > 0 and self._waiting:
            tag, size = self._waiting.popleft()
            taken = min(size, count)
            count -= taken
            parts.append((tag, taken))
            if size > taken:
                self._waiting.appendleft((tag, size - taken))
        return parts

    def clear(self) -> None:
        """Forget the samples that wait; the records stay."""
        self._waiting.clear()

    def heard(self, parts: Parts, last_sample_at: float, sample_rate: int) -> None:
        """Note that the device took ``parts``, the last sample of which is heard at that time."""
        still = sum(count for _, count in parts)
        for tag, count in parts:
            record = self[tag]
            if record.first_heard is None:
                record.first_heard = last_sample_at - still / sample_rate
            record.played += count
            still -= count
