"""The order and the speed in which a response leaves: one queue per session, which can be emptied at any moment.

What is not part of a response (speech edges, transcripts, errors) does not pass through here, so it overtakes sound
that waits. No thread and no clock of its own: the session calls :meth:`Lane.release`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ..events import ServerEvent

__all__ = ["Lane"]

Action = Callable[[], None]

# Synthesis runs ahead of what leaves by this much: enough for a gapless stream, little to throw away.
_AHEAD_S = 10.0


class _Entry(NamedTuple):
    what: ServerEvent | Action
    seconds: float


class Lane:
    """Response events waiting to leave, in order.

    Args:
        emit: sends one event.
        pace: 0 for as fast as the socket takes it; otherwise sound leaves at this multiple of real time.
    """

    def __init__(self, emit: Callable[[ServerEvent], None], pace: float = 0.0) -> None:
        self._emit = emit
        self._pace = pace
        self._entries: deque[_Entry] = deque()
        self._waiting_for_room: deque[Action] = deque()
        self._free_at = 0.0  # when the sound that left last has been played
        self.seconds = 0.0  # of sound that waits

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, *events: ServerEvent, seconds: float = 0.0) -> None:
        """Append events; ``seconds`` is how long the sound in them lasts."""
        self._entries.extend(_Entry(event, seconds) for event in events)
        self.seconds += seconds * len(events)

    def then(self, action: Action) -> None:
        """Run an action when everything before it has left."""
        self._entries.append(_Entry(action, 0.0))

    def when_low(self, action: Action) -> None:
        """Run an action when less than ten seconds of sound wait; at once if so now."""
        if self.seconds < _AHEAD_S:
            action()
        else:
            self._waiting_for_room.append(action)

    def clear(self) -> None:
        """Forget everything that has not left, actions included."""
        self._entries.clear()
        self._waiting_for_room.clear()
        self._free_at = self.seconds = 0.0

    def wait(self, now: float) -> float | None:
        """Seconds until something can leave; ``None`` where nothing waits."""
        if not self._entries:
            return None
        return max(0.0, self._free_at - now) if self._entries[0].seconds else 0.0

    def release(self, now: float, has_room: Callable[[], bool]) -> None:
        """Let everything leave that is due, as long as there is room for it."""
        while self._entries and has_room():
            what, seconds = self._entries[0]
            if seconds and now < self._free_at:
                return
            self._entries.popleft()
            if seconds:
                self.seconds = max(0.0, self.seconds - seconds)
                if self._pace:
                    self._free_at = max(now, self._free_at) + seconds / self._pace
            if isinstance(what, ServerEvent):
                self._emit(what)
            else:
                what()
            while self._waiting_for_room and self.seconds < _AHEAD_S:
                self._waiting_for_room.popleft()()
