"""The local server: the service's protocol on the loopback interface, with engines that run offline.

Each name is imported when it is first asked for: the engines' worker processes pass through this package too, and need
none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import LocalServer
    from .faults import (
        BinaryFrame,
        CloseWith,
        CutMidFrame,
        Delay,
        Drop,
        DropSetting,
        Duplicate,
        ErrorEvent,
        Expire,
        Fault,
        InvalidUtf8,
        LateDelta,
        LongReason,
        MalformedJson,
        NoPong,
        OddAudio,
        Oversized,
        RateLimit,
        Reject,
        Reset,
        Silent,
        Stall,
        UnknownType,
    )
    from .record import SessionRecord

__all__ = [
    "BinaryFrame",
    "CloseWith",
    "CutMidFrame",
    "Delay",
    "Drop",
    "DropSetting",
    "Duplicate",
    "ErrorEvent",
    "Expire",
    "Fault",
    "InvalidUtf8",
    "LateDelta",
    "LocalServer",
    "LongReason",
    "MalformedJson",
    "NoPong",
    "OddAudio",
    "Oversized",
    "RateLimit",
    "Reject",
    "Reset",
    "SessionRecord",
    "Silent",
    "Stall",
    "UnknownType",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = {"LocalServer": ".app", "SessionRecord": ".record"}.get(name, ".faults")
    try:
        value = getattr(import_module(home, __name__), name)
    except ModuleNotFoundError as error:
        if error.name != "websockets":
            raise
        raise ImportError("the local server needs the extra 'local': pip install 'qwen-realtime[local]'") from error
    globals()[name] = value
    return value
