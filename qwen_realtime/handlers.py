"""Who wants which event: an ordered registry, keyed by event class, wire type or ``"*"``."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from .errors import ConfigError
from .events import CLIENT_EVENTS, CONNECTION_EVENTS, SERVER_EVENTS, ClientEvent, Error, Event, UnknownEvent
from .notices import warn

__all__ = ["Handler", "Handlers", "Key", "matcher"]

Handler: TypeAlias = Callable[[Any], object]
Key: TypeAlias = str | type[Event]

ANY = "*"


class _Entry(NamedTuple):
    key: Key
    handler: Handler
    once: bool


class Handlers:
    """Handlers in the order in which they were registered. Any thread may register and remove."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards writes; readers see one whole tuple or the next
        self._entries: tuple[_Entry, ...] = ()
        self._found: dict[Key, tuple[_Entry, ...]] = {}

    def add(self, key: Key, handler: Handler, *, once: bool = False) -> None:
        """Register a handler; ``key`` as for :func:`resolve_key`.

        Raises:
            ConfigError: the key names no event that can come, or the handler cannot be called.
        """
        if not callable(handler):
            raise ConfigError(f"a handler must be callable, not {handler!r}")
        entry = _Entry(resolve_key(key), handler, once)
        with self._lock:
            self._set((*self._entries, entry))

    def remove(self, key: Key | None, handler: Handler | None) -> None:
        """Remove the handlers that match both; ``None`` matches all."""
        resolved = resolve_key(key) if key is not None else None
        with self._lock:
            self._set(
                tuple(
                    entry
                    for entry in self._entries
                    if (resolved is not None and entry.key != resolved)
                    or (handler is not None and entry.handler != handler)
                )
            )

    def _set(self, entries: tuple[_Entry, ...]) -> None:
        self._entries = entries
        self._found = {}

    def of(self, event: Event) -> tuple[_Entry, ...]:
        """The entries for an event, in the order of registration."""
        # the dict is taken once: a change replaces it, so an answer found in the old one is stored there
        found = self._found
        kind: Key = event.type if isinstance(event, UnknownEvent) else type(event)
        entries = found.get(kind)
        if entries is None:
            entries = found[kind] = tuple(entry for entry in self._entries if matcher(entry.key)(event))
        return entries

    def spend(self, entry: _Entry) -> bool:
        """Use up a ``once`` entry; ``False`` when it has been removed meanwhile."""
        with self._lock:
            if entry not in self._entries:
                return False
            self._set(tuple(each for each in self._entries if each is not entry))
            return True

    def take_errors(self) -> bool:
        """Whether somebody asked for ``error`` events by name; ``"*"`` and base classes only look on."""
        return any(entry.key is Error for entry in self._entries)


def resolve_key(key: Key) -> Key:
    """A key as the registry holds it: an event class, ``"*"``, or a wire type that no class declares.

    Args:
        key: an event class or base class, a wire type, the name of a connection event, or ``"*"``.

    Raises:
        ConfigError: it is none of these, or names an event that only the client sends.
    """
    if isinstance(key, type):
        if not issubclass(key, Event) or issubclass(key, ClientEvent):
            raise ConfigError(f"{key.__name__} is not an event that can be received")
        return key
    if not isinstance(key, str):
        raise ConfigError(f"an event is named by a string or an event class, not {key!r}")
    known: dict[str, type[Event]] = {**SERVER_EVENTS, **CONNECTION_EVENTS}
    if key == ANY or key in known:
        return known.get(key, key)
    if key in CLIENT_EVENTS:
        raise ConfigError(f"{key!r} is sent by the client, never received")
    near = difflib.get_close_matches(key, known, 1, 0.9)
    if near:
        warn(f"no event {key!r} is known; did you mean {near[0]!r}?")
    return key


def matcher(key: Key) -> Callable[[Event], bool]:
    """A test for events of a resolved key."""
    if isinstance(key, type):
        kind = key
        return lambda event: isinstance(event, kind)
    return lambda event: key == ANY or event.type == key
