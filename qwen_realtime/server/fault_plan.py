"""Which faults a server has been given, in whatever form, and how often each has yet to happen."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from ..errors import ConfigError
from . import faults as kinds
from .faults import Fault, LateDelta, OddAudio, UnknownType

__all__ = ["FaultPlan", "FaultSpec"]

FaultSpec: TypeAlias = Fault | type[Fault] | str | Mapping[str, Any]

_KINDS: tuple[type[Fault], ...] = tuple(getattr(kinds, name) for name in kinds.__all__ if name != "Fault")


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


_BY_NAME: dict[str, type[Fault]] = {
    **{_letters(kind.__name__): kind for kind in _KINDS},
    "unknownevent": UnknownType,
    "oddsizedaudio": OddAudio,
    "latedeltaaftercancel": LateDelta,
}


def fault_of(spec: FaultSpec) -> Fault:
    """The fault that an entry of the list means.

    Raises:
        ConfigError: it means none, or has arguments that the fault does not take.
    """
    if isinstance(spec, Fault):
        return spec
    arguments: dict[str, Any] = dict(spec) if isinstance(spec, Mapping) else {}
    kind = arguments.pop("fault", None) if isinstance(spec, Mapping) else spec
    if isinstance(kind, str):
        kind = _kind_named(kind)
    if not (isinstance(kind, type) and issubclass(kind, Fault)):
        raise ConfigError(f"{spec!r} is no fault", hint="such as Reset(), 'reset', or {'fault': 'reset', 'nth': 3}")
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ConfigError(f"{kind.__name__} cannot be made so: {error}") from error


def _kind_named(name: str) -> type[Fault]:
    kind = _BY_NAME.get(_letters(name))
    if kind is None:
        near = difflib.get_close_matches(_letters(name), _BY_NAME, 1)
        names = ", ".join(kind.__name__ for kind in _KINDS)
        hint = f"did you mean {_BY_NAME[near[0]].__name__}?" if near else f"there are {names}"
        raise ConfigError(f"there is no fault {name!r}", hint=hint)
    return kind


class FaultPlan:
    """The faults of one server and how often each has yet to happen.

    Args:
        faults: as given to the server.
    """

    def __init__(self, faults: Iterable[FaultSpec] | FaultSpec) -> None:
        alone = isinstance(faults, (Fault, type, str, Mapping))
        self.faults = tuple(map(fault_of, (faults,) if alone else faults))  # type: ignore[arg-type]
        # Guards `_left`, which the sessions' threads share; held for an instant.
        self._lock = threading.Lock()
        self._left = [fault.times or None for fault in self.faults]

    def of(self, connection: int) -> list[tuple[int, Fault]]:
        """The faults that can happen on a connection, with the number to :meth:`take` them by."""
        return [
            (number, fault)
            for number, fault in enumerate(self.faults)
            if fault.connection is None or fault.connection == connection
        ]

    def take(self, number: int) -> bool:
        """Whether a fault may happen now; counts it."""
        with self._lock:
            left = self._left[number]
            if left is None:
                return True
            self._left[number] = left - 1 if left else 0
            return left > 0

    def standing(self, connection: int, kind: type[Fault]) -> Fault | None:
        """The fault of a kind that holds for a whole connection, if there is one; counts it."""
        for number, fault in self.of(connection):
            if isinstance(fault, kind) and self.take(number):
                return fault
        return None
